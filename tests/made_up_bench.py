"""A made-up bench of nine blocks, whose true accuracies are known."""

import csv

import numpy as np

from studies.bench import COLUMNS, ordered_jobs
from studies.bench.supernet_table import COLUMNS as SUPERNET_COLUMNS
from studies.bench.supernet_table import OWN


def truth(bits):
    """2 points for the first block, 1 for each of two others, 1 for a pair."""
    return 38 + 2 * bits[0] + bits[3] - bits[8] + (bits[4] ^ bits[6])


def bits_of(mask):
    return tuple(int(char) for char in mask if char in '01')


def made_up_rows(number=640, noise=0.0, attention='DIA'):
    """The first rows of the bench; epochs before the last are closer together."""
    rng = np.random.default_rng(0)
    rows = []
    for job in [job for part in ordered_jobs() for job in part][:number]:
        value, shift = truth(bits_of(job.mask)), 0.5 * job.seed
        curve = [
            x + shift + s * value for x, s in ((0, 0.5), (0, 0.7), (0, 0.9), (0, 1))
        ]
        curve = [x + rng.normal(0, noise) for x in curve]
        end = curve[-1] + rng.normal(0, noise)
        accuracies = ' '.join(f'{x:.2f}' for x in curve)
        losses = ' '.join(f'{5 - x / 10:.4f}' for x in curve)
        rows.append(
            dict(
                protocol='p', attention=attention, mask=job.mask, seed=job.seed,
                accuracy=round(end, 4), test_accuracies=accuracies,
                reward_accuracies=accuracies, reward_losses=losses,
                train_losses=losses, parameters=1, latency=1.0, plain_latency=1.0,
                seconds=60.0, cpu_seconds=50.0, date='2026-01-01', machine='m',
                threads=1, torch='2',
            )
        )  # fmt: skip
    return rows


def supernet_row(values, seed=0, supernet='as published', scores=OWN, mask_epochs=0.01):
    """A row of a supernet in which masks have some accuracies."""
    return dict(
        protocol='p', attention='DIA', supernet=supernet, scores=scores, seed=seed,
        accuracies=' '.join(f'{value:.1f}' for value in values),
        losses=' '.join(f'{5 - value / 10:.4f}' for value in values),
        train_epochs=4, mask_epochs=mask_epochs, epoch_seconds=7.0, date='2026-01-01',
        machine='m', threads=1, torch='2',
    )  # fmt: skip


def write(path, rows):
    columns = SUPERNET_COLUMNS if 'supernet' in rows[0] else COLUMNS
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
