"""What the command lines of the experiments have in common."""

import argparse
from pathlib import Path
from typing import Any, Dict, Type, TypeVar

from ean_mm.launch import OptionAction
from studies.markdown import fill
from studies.protocols import PROTOCOLS
from studies.results import Results
from studies.table import Table

T = TypeVar('T', bound=Table)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what is trained and where results go."""
    parser.add_argument('--protocol', choices=PROTOCOLS, default='mini')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--random-masks', type=int, default=3, help='random masks for a searched one'
    )
    parser.add_argument('--data-root', help='folder to read every data set from')
    parser.add_argument(
        '--work-dir',
        type=Path,
        default='work_dirs/experiments',
        help='folder for logs and checkpoints, one in it for each run',
    )
    parser.add_argument(
        '--csv',
        type=Path,
        help='file of the results; what it has already is not run again; default: '
        'results.csv in the work dir',
    )
    parser.add_argument(
        '--jobs', type=int, default=1, help='runs at a time, each in a process'
    )
    parser.add_argument(
        '--threads', type=int, help="of each run; default: PyTorch's shared among jobs"
    )
    add_report_arguments(parser)
    for name, what in (
        ('--cfg-options', 'override every config'),
        ('--search-cfg-options', 'override the configs of searches'),
    ):
        parser.add_argument(
            name, nargs='+', action=OptionAction, metavar='KEY=VALUE', help=what
        )


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say where a report goes."""
    parser.add_argument(
        '--report',
        nargs='+',
        default=[],
        metavar='FILE',
        help='Markdown files to write the results into, between marker comments',
    )
    parser.add_argument(
        '--only-report',
        action='store_true',
        help='run nothing, report what has been run',
    )


def report(args: argparse.Namespace, blocks: Dict[str, str]) -> None:
    """Print the first of a report's blocks, and write all of them where asked for.

    Args:
        args: The command line, with :func:`add_report_arguments`.
        blocks: Texts by the names of their places in documents.
    """
    for path in args.report:
        fill(path, blocks)
    print(next(iter(blocks.values())))


def read_table(args: argparse.Namespace, kind: Type[T], **choice: Any) -> T:
    """Return the table of a kind that a command line asks for."""
    return kind(
        protocol=args.protocol,
        seeds=args.seeds,
        random_masks=args.random_masks,
        options=args.cfg_options,
        search_options=args.search_cfg_options,
        data_root=args.data_root,
        **choice,
    )


def read_results(args: argparse.Namespace) -> Results:
    """Return the results that there are."""
    return Results(args.csv or args.work_dir / 'results.csv')
