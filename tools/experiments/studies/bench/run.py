"""Do the trainings of benches, in any number of processes, and do one again."""

import fcntl
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Sequence, Tuple

from ean_mm.errors import EANError
from studies.bench.order import Job
from studies.bench.table import COLUMNS, Bench
from studies.results import Row, Rows

SAME_NUMBERS = ('machine', 'threads', 'torch')
"""what has to be equal for a training to give the same numbers again"""


def read_rows(path: Path, bench: Bench) -> Rows:
    """Read a bench's file, which may not exist yet.

    Raises:
        ValueError: It has rows of another protocol.
    """
    rows = Rows(path, COLUMNS)
    for row in rows.rows:
        if row['attention'] == bench.attention and row['protocol'] != bench.hash:
            raise EANError(
                f'{path} has trainings of {bench.attention} by another protocol '
                f'({row["protocol"]}) than this one ({bench.hash}); name another '
                '--folder, or take back what was changed in protocol or options'
            )
    return rows


def has_row(rows: Rows, bench: Bench, job: Job) -> bool:
    """Whether a training has been done."""
    key = (bench.attention, job.mask, job.seed)
    return any((r['attention'], r['mask'], r['seed']) == key for r in rows.rows)


def do_jobs(
    benches: Sequence[Tuple[Bench, Path]],
    parts: Sequence[Sequence[Job]],
    work_dir: Path,
) -> Iterator[Row]:
    """Do what no process has done or is doing.

    Each row is on the disk before the next training starts, so that a kill loses one
    training. Processes know of each other by locks in the work dir, which the system
    releases if one is killed; one without them, as on another machine, would at worst
    do a training twice.

    Args:
        benches: The benches, and the file of each. They take turns after every part.
        parts: The trainings of each bench, in their order.
        work_dir: Folder of all processes that work on the same files.

    Yields:
        The row of each training that was done here.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    numbers = {job: n for n, job in enumerate(job for part in parts for job in part)}
    busy = True
    while busy:  # once more, for what a process that was killed meanwhile has left
        busy = False
        for part in parts:
            for bench, path in benches:
                lock = work_dir / f'{path.stem}_{bench.attention}_{bench.hash}.lock'
                rows = read_rows(path, bench)
                for job in part:
                    if has_row(rows, bench, job):
                        continue
                    with _claimed(lock, numbers[job]) as ours:
                        rows = read_rows(path, bench)  # others may have added to it
                        if ours and not has_row(rows, bench, job):
                            row = bench.train(job)
                            rows.append(row)
                            busy = True
                            yield row


@contextmanager
def _claimed(path: Path, number: int) -> Iterator[bool]:
    """Claim a training among processes, by a lock on a byte of a file."""
    with open(path, 'a+b') as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError:
            yield False
        else:
            yield True


def train_again(bench: Bench, row: Row) -> Tuple[Row, str]:
    """Train a row's mask again, and say what came of it.

    Returns:
        The new row, and why its numbers may be others: the processor, its
        instructions, the number of threads or the version of PyTorch differ. Empty if
        none of them does.

    Raises:
        ValueError: The row is of another protocol.
    """
    if row['protocol'] != bench.hash:
        raise EANError(
            f'the row was trained by the protocol {row["protocol"]}, not by this one, '
            f'{bench.hash}'
        )
    again = bench.train(Job(row['mask'], row['seed']))
    return again, '; '.join(
        f'{name} {again[name]}, not {row[name]}'
        for name in SAME_NUMBERS
        if again[name] != row[name]
    )
