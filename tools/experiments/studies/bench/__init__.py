"""A bench: every mask of a network of nine blocks, really trained, and what it says."""

from studies.bench.analysis import Analysis, analyse
from studies.bench.longer import longer_block
from studies.bench.order import Job, ordered_jobs, ordered_masks, pilot_jobs
from studies.bench.pilot import pilot_block, pilots_block
from studies.bench.report import bench_block
from studies.bench.run import do_jobs, has_row, read_rows, train_again
from studies.bench.table import COLUMNS, Bench

__all__ = [
    'COLUMNS',
    'Analysis',
    'Bench',
    'Job',
    'analyse',
    'bench_block',
    'do_jobs',
    'has_row',
    'longer_block',
    'ordered_jobs',
    'ordered_masks',
    'pilot_block',
    'pilot_jobs',
    'pilots_block',
    'read_rows',
    'train_again',
]
