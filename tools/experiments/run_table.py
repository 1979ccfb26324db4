"""Train the networks of a table, in all variants and with several seeds, and report.

The variants are the plain network, attention in every block (a module for each block,
and one shared by a stage's blocks), the mask that a search finds for that seed, and
random masks with as many bits set. What has been run is not run again: each run is
known by a hash of its config, and has a row in a CSV file as soon as it is finished.
A killed table goes on by the same command.
"""

import argparse

from ean_mm.launch import explain_errors
from studies.command_line import add_arguments, read_results, read_table, report
from studies.report import table_blocks
from studies.scheduler import run_table
from studies.table import VARIANTS, Table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument(
        '--network', nargs='+', help="names of the protocol's networks; default: all"
    )
    parser.add_argument(
        '--attention', nargs='+', help='names of attentions, as SE; default: all'
    )
    parser.add_argument(
        '--variants', nargs='+', choices=VARIANTS, help='what to train; default: all'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    table = read_table(
        args,
        Table,
        networks=args.network,
        attentions=args.attention,
        variants=args.variants,
    )
    results = read_results(args)
    if not args.only_report:
        run_table(table, results, args.work_dir, args.jobs, args.threads)
    report(args, table_blocks(results, args.protocol, table.options))


if __name__ == '__main__':
    explain_errors(main)
