"""A tiny table of trained networks, and what its file holds."""

import csv
from pathlib import Path

import numpy as np

OPTIONS = {'train_cfg.max_epochs': 1, 'model.backbone.base_channels': 8,
           'model.backbone.stem_channels': 8, 'model.head.in_channels': 32}  # fmt: skip
SEARCH_OPTIONS = {'custom_hooks.2.searcher.num_steps': 3}
TINY = [
    '--protocol', 'digits', '--work-dir', 'runs',
    '--cfg-options', *(f'{k}={value}' for k, value in OPTIONS.items()),
    '--search-cfg-options', *(f'{k}={value}' for k, value in SEARCH_OPTIONS.items()),
]  # fmt: skip
RUN = 'experiments/run_table.py'
TABLE = [RUN, '--attention', 'SE', '--seeds', '0', '1', '--random-masks', '2', *TINY]
CSV = Path('runs/results.csv')


def read_rows(path=CSV):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def rows_of(rows, variant, seed=None):
    return [
        row
        for row in rows
        if row['variant'].split(' #')[0] == variant
        and (seed is None or int(row['seed']) == seed)
    ]


def percents(rows, variant, seed=None):
    return np.array([float(row['percent']) for row in rows_of(rows, variant, seed)])


def cells(line):
    return [cell.strip() for cell in line.strip('|').split('|')]


def make_row(variant, seed, percent, attention='SE', **changes):
    row = dict(
        variant=variant, seed=seed, percent=percent, attention=attention,
        mask='110-010-001', parameters=1000, metric='accuracy/top1', epochs=1,
        iterations=9, train_images=9, test_images=5, train_seconds=1.0, threads=1,
        torch='2', machine='m', config_hash=f'{variant}{seed}{attention}')  # fmt: skip
    return {**row, **changes}
