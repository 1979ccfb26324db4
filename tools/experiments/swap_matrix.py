"""Compare every stock config of the toolboxes with itself, its backbone swapped.

Exchanges the residual backbones of mmpretrain's, mmdet's and mmseg's configs as
configs/README.md says, and compares the models on the same weights: what trains, losses
and gradients of a batch, features. What has been compared is not compared again.
"""

import argparse
import logging
import warnings
from fnmatch import fnmatch
from pathlib import Path

import torch

from ean_mm.launch import explain_errors
from studies.command_line import add_report_arguments, report
from studies.results import Rows
from studies.stock_configs import TOOLBOXES
from studies.swap_matrix import COLUMNS, RESULTS, run_matrix
from studies.swap_report import swap_block


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--toolboxes', nargs='+', choices=TOOLBOXES, default=TOOLBOXES)
    parser.add_argument(
        '--only', default='*', metavar='PATTERN', help="paths, as 'faster_rcnn/*'"
    )
    parser.add_argument(
        '--again',
        nargs='+',
        choices=RESULTS,
        default=[],
        help='compare those of these configs anew that ended so',
    )
    parser.add_argument('--csv', type=Path, default='docs/data/swap_matrix.csv')
    parser.add_argument('--threads', type=int, default=1)
    add_report_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    rows = Rows(args.csv, COLUMNS)
    if not args.only_report:
        compare(args, rows)
    report(args, {'swap matrix': swap_block(rows.rows)})


def compare(args: argparse.Namespace, rows: Rows) -> None:
    """Compare what has not been compared yet, without what the toolboxes log."""
    torch.set_num_threads(args.threads)
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    rows.remove(
        lambda row: (
            row['result'] in args.again
            and row['toolbox'] in args.toolboxes
            and fnmatch(row['config'], args.only)
        )
    )
    for row in run_matrix(rows, args.toolboxes, args.only):
        print(', '.join(str(row[name]) for name in COLUMNS if name != 'model'))


if __name__ == '__main__':
    explain_errors(main)
