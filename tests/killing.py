"""Training in processes of their own that start without the seconds of importing."""

import multiprocessing
import os
import runpy
import sys
import time
from pathlib import Path

import mmpretrain.datasets
import mmpretrain.engine
import mmpretrain.evaluation
import mmpretrain.models
import mmpretrain.visualization  # noqa: F401
import torch

import ean_mm  # noqa: F401

ROOT = Path(__file__).parents[1]

# The server imports this module once; every process is forked from it.
_context = multiprocessing.get_context('forkserver')
_context.set_forkserver_preload([__name__])


def _train(arguments, log):
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    torch.set_num_threads(1)
    sys.argv = ['train.py', *map(str, arguments)]
    runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')


def start(config, work_dir, *arguments):
    """Start ``tools/train.py``."""
    log = f'{work_dir}.log'
    process = _context.Process(
        target=_train, args=([config, '--work-dir', work_dir, *arguments], log)
    )
    process.start()
    process.log = Path(log)
    return process


def finish(process, status=0):
    """Wait for the end of a process, which has a status; return its output."""
    process.join(300)
    output = process.log.read_text()
    assert process.exitcode == status, output[-3000:]
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
        process = start(config, work_dir, *arguments)
        while not reached() and process.is_alive():
            time.sleep(0.001)
        time.sleep(delay)
        killed += process.is_alive()
        process.kill()
        process.join()
        arguments = ['--resume']
    finish(start(config, work_dir, *arguments))
    return killed
