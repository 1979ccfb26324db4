"""Do the runs of a table, several at a time, and keep what is finished."""

import fcntl
import multiprocessing
import os
import signal
import statistics
import sys
import threading
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

import torch

from ean_mm.errors import EANError
from studies.results import Results, label_of
from studies.run import SEARCH, Run, execute
from studies.table import Table


def run_table(
    table: Table,
    results: Results,
    work_dir: Path,
    jobs: int = 1,
    threads: Optional[int] = None,
) -> None:
    """Do all runs of a table that are not done yet.

    Results are added one by one, so that the same call goes on after a kill; what was
    running then is done again. A run that fails lets those beside it finish.

    Args:
        table: What to run.
        results: Where the results are and go.
        work_dir: Folder for the folders of the runs.
        jobs: Runs at a time, each in a process; a single one is done in this process.
        threads: Threads of each run; those of PyTorch shared among the jobs by default.

    Raises:
        ValueError: Data are missing, another process is at work in the folder, or one
            of the jobs was killed.
    """
    table.check()
    threads = threads or max(1, torch.get_num_threads() // jobs)
    try:
        with _alone_in(work_dir), _executor(jobs, threads) as executor:
            _run_all(table, results, work_dir, jobs, executor)
    except BrokenProcessPool as error:
        raise EANError(
            'a process was killed from outside, as a rule for want of memory; the same '
            'command goes on with what is left, with fewer --jobs if need be'
        ) from error


def _run_all(
    table: Table, results: Results, work_dir: Path, jobs: int, executor: Executor
) -> None:
    running: Dict[Future, Run] = {}
    progress = _Progress(table, results, jobs)
    failure = None
    while True:
        if failure is None:
            for run in due(table, results, set(running.values())):
                if len(running) == jobs:
                    break
                running[executor.submit(execute, run, work_dir)] = run
        if not running:
            break
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            run = running.pop(future)
            try:
                results.append(future.result())
                progress.report(run)
            except Exception as error:
                failure = failure or error
    if failure is not None:
        raise failure


def due(table: Table, results: Results, running: set) -> Iterator[Run]:
    """Yield the runs that are to be started, in their order.

    A run that equals a finished one, such as a searched mask with every bit set, gets
    that one's result.
    """
    started = {run.hash for run in running}
    for run in table.runs(results):
        known = results.by_hash().get(run.hash)
        if known is None:
            if run.hash not in started:
                started.add(run.hash)
                yield run
            continue
        row = results.by_label().get(label_of(run.facts()))
        if row is None or row['config_hash'] != run.hash:
            results.append({**known, **run.facts()})


class _Progress:
    """Prints a line for every finished run, with an estimate of the time left."""

    def __init__(self, table: Table, results: Results, jobs: int) -> None:
        self.table, self.results, self.jobs = table, results, jobs
        self.seconds: List[float] = []

    def _done(self) -> set:
        known = self.results.by_hash()
        return {run.hash for run in self.table.runs(self.results) if run.hash in known}

    def report(self, run: Run) -> None:
        row, done = self.results.rows[-1], len(self._done())
        self.seconds.append(row['train_seconds'])
        runs = max(len(self.table) - done, 0)
        left = statistics.fmean(self.seconds) * runs / self.jobs
        found = f', found {row["mask"]}' if run.variant == SEARCH else ''
        print(
            f'[{done}/{len(self.table)}] {run}: {row["percent"]:.2f} %{found}, '
            f'{row["train_seconds"]:.0f} s; {left / 3600:.1f} h left',
            flush=True,
        )


@contextmanager
def _alone_in(work_dir: Path) -> Iterator[None]:
    """Hold a folder's lock, which the system releases if the process is killed."""
    work_dir.mkdir(parents=True, exist_ok=True)
    with open(work_dir / '.lock', 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EANError(
                f'another process is at work in {work_dir}; wait for it, or give '
                'another --work-dir'
            ) from error
        yield


@contextmanager
def _executor(jobs: int, threads: int) -> Iterator[Executor]:
    if jobs == 1:
        torch.set_num_threads(threads)
        executor: Executor = _InThisProcess()
    else:
        context = multiprocessing.get_context('spawn')
        executor = ProcessPoolExecutor(jobs, context, _begin_worker, (threads,))
    with executor:
        try:
            yield executor
        except KeyboardInterrupt:
            for worker in multiprocessing.active_children():
                worker.terminate()
            sys.exit('interrupted; the same command goes on with what is left')


class _InThisProcess(Executor):
    """An executor whose tasks are done when they are submitted."""

    def submit(self, task: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(task(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _begin_worker(threads: int) -> None:
    """Set up a worker, which leaves an interrupt to its parent and ends with it."""
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
