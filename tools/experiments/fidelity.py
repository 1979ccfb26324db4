"""Measure how well short trainings rank masks, and at what cost.

Trains masks that a table (see run_table.py) has trained to the end once more for some
epochs, from scratch and from the weights of the plain network, and compares the orders.
What has been run is not run again.
"""

import argparse
from itertools import product
from pathlib import Path
from typing import List

import torch

from ean_mm.launch import explain_errors
from studies.command_line import add_arguments, read_results, report
from studies.fidelity import COLUMNS, STARTS, FidelityTable, Short
from studies.fidelity_report import fidelity_block
from studies.results import Results, Rows


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument('--network', default='ResNet-20')
    parser.add_argument('--attention', nargs='+', default=['DIA', 'SE'])
    parser.add_argument(
        '--shorts',
        type=Path,
        help='CSV file of the short trainings; default: fidelity.csv in the work dir',
    )
    parser.add_argument('--masks', type=int, default=13, help='how many at most')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads or 1)
    whole = read_results(args)
    rows = Rows(args.shorts or args.work_dir / 'fidelity.csv', COLUMNS)
    tables = [
        FidelityTable(
            args.protocol,
            args.network,
            attention,
            options=args.cfg_options,
            data_root=args.data_root,
        )
        for attention in args.attention
    ]
    if not args.only_report:
        train(args, tables, whole, rows)
    name = f'{args.protocol} fidelity {args.network}'
    report(args, {name: fidelity_block(tables, whole, rows)})


def train(
    args: argparse.Namespace, tables: List[FidelityTable], whole: Results, rows: Rows
) -> None:
    """Train what has not been trained yet."""
    for start, budgets in STARTS.items():
        for epochs, table in product(budgets, tables):
            masks = list(table.masks(whole))[: args.masks]
            shorts = [Short(start, epochs, mask) for mask in masks]
            due = [short for short in shorts if not table.rows_of(short, rows)]
            for row in table.judge(due, args.work_dir) if due else ():
                rows.append(row)
                print(', '.join(str(row[name]) for name in COLUMNS if name != 'curve'))


if __name__ == '__main__':
    explain_errors(main)
