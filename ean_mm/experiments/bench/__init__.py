"""A bench: every mask of a network of nine blocks, really trained, and what it says."""

from ean_mm.experiments.bench.analysis import Analysis, analyse
from ean_mm.experiments.bench.order import Job, ordered_jobs, ordered_masks, pilot_jobs
from ean_mm.experiments.bench.pilot import pilot_block
from ean_mm.experiments.bench.report import bench_block
from ean_mm.experiments.bench.run import do_jobs, has_row, read_rows, train_again
from ean_mm.experiments.bench.table import COLUMNS, Bench

__all__ = [
    'COLUMNS',
    'Analysis',
    'Bench',
    'Job',
    'analyse',
    'bench_block',
    'do_jobs',
    'has_row',
    'ordered_jobs',
    'ordered_masks',
    'pilot_block',
    'pilot_jobs',
    'read_rows',
    'train_again',
]
