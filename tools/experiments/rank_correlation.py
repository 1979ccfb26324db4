"""Measure how well supernets rank masks.

Compares the accuracy that masks have in a supernet with that of networks trained with
them alone: those of the table (see run_table.py), and of more masks until there are
enough. Does so for the supernet of the search config and for others of the protocol, to
compare them. What has been run is not run again.
"""

import argparse

from ean_mm.launch import explain_errors
from studies.command_line import add_arguments, read_results, read_table, report
from studies.ranking_report import ranking_block
from studies.ranking_table import RankingTable
from studies.scheduler import run_table
from studies.supernet_scores import score_masks


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument('--network', default='ResNet-20')
    parser.add_argument('--attention', default='SE')
    parser.add_argument('--masks', type=int, default=15, help='how many at least')
    parser.add_argument(
        '--trainings', type=int, default=2, help='of each mask at least, a seed each'
    )
    parser.add_argument(
        '--supernets',
        nargs='*',
        metavar='NAME',
        help="of the protocol, to compare with the search config's; default: all",
    )
    parser.add_argument(
        '--calibration-batches',
        type=int,
        default=10,
        help='training batches to re-estimate the norm statistics of a mask on',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    table = read_table(
        args,
        RankingTable,
        network=args.network,
        attention=args.attention,
        num_masks=args.masks,
        trainings=args.trainings,
        supernets=args.supernets,
    )
    results = read_results(args)
    if not args.only_report:
        run_table(table, results, args.work_dir, args.jobs, args.threads)
        for batches in (0, args.calibration_batches):
            score_masks(table, results, args.work_dir, batches)
    block = ranking_block(table, results, args.calibration_batches)
    name = f'{args.protocol} ranking {args.network} {args.attention}'
    report(args, {name: block})


if __name__ == '__main__':
    explain_errors(main)
