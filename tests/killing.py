"""Trainings in processes of their own, which may be killed, and what they leave.

They start without the seconds of importing.
"""

import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]

# The server imports these once; every process is forked from it. It does not find the
# modules that only pytest's path leads to, as this one.
_context = multiprocessing.get_context('forkserver')
_context.set_forkserver_preload(
    [
        'mmpretrain.datasets',
        'mmpretrain.engine',
        'mmpretrain.evaluation',
        'mmpretrain.models',
        'mmpretrain.visualization',
        'ean_mm',
    ]
)


def process(function, *arguments):
    """A process that calls a function with one thread; it is still to be started."""
    return _context.Process(target=_call, args=(function, *arguments))


def _call(function, *arguments):
    torch.set_num_threads(1)
    function(*arguments)


def _train(arguments, log):
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ['train.py', *map(str, arguments)]
    runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')


def start(config, work_dir, *arguments):
    """Start ``tools/train.py``."""
    log = f'{work_dir}.log'
    training = process(_train, [config, '--work-dir', work_dir, *arguments], log)
    training.start()
    training.log = Path(log)
    return training


def finish(training, status=0):
    """Wait for the end of a training, which has a status; return its output."""
    training.join(300)
    output = training.log.read_text()
    assert training.exitcode == status, output[-3000:]
    return output


def kill_and_resume(config, work_dir, moments):
    """Run to the end, killed at each of the moments.

    Args:
        moments: Pairs of what has been reached when it returns True, and the seconds
            after it.

    Returns:
        How many processes were killed; the others had ended before their moment.
    """
    arguments, killed = [], 0
    for reached, delay in moments:
        training = start(config, work_dir, *arguments)
        while not reached() and training.is_alive():
            time.sleep(0.001)
        time.sleep(delay)
        killed += training.is_alive()
        training.kill()
        training.join()
        arguments = ['--resume']
    finish(start(config, work_dir, *arguments))
    return killed


def free_port():
    """The number of a port that nobody listens to, as text."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return str(listener.getsockname()[1])


def train_with_two(config, work_dir, *arguments, restarts=0):
    """Train with two processes of gloo; return the status and the output."""
    environment = dict(os.environ, OMP_NUM_THREADS='1', PORT=free_port(),
                       MAX_RESTARTS=str(restarts),
                       PATH=f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
                       PYTHONPATH=f'{ROOT}:{ROOT / "tests"}')  # fmt: skip
    run = subprocess.run(
        [ROOT / 'tools/dist_train.sh', config, '2', '--work-dir', work_dir, *arguments],
        capture_output=True, text=True, timeout=500, env=environment)  # fmt: skip
    return run.returncode, run.stdout + run.stderr


def dump(cfg, path):
    cfg.pop('work_dir', None)
    cfg.dump(path)
    return path


def lines(path):
    return path.read_bytes().splitlines() if path.exists() else []


def assert_equal_searches(one, other):
    for name in ('search/history.jsonl', 'mask_backbone.json'):
        assert lines(one / name) == lines(other / name)
        assert lines(one / name)
