"""Does a protocol tell masks apart? From a few masks that are trained several times."""

import statistics
from typing import Callable, Dict, List, Sequence

import numpy as np

from studies.bench.order import SEEDS, Job
from studies.bench.variance import spread_of
from studies.report_text import markdown_table
from studies.results import Row

LAST = 4
"""the last epochs are a quarter of all"""


def curve(row: Row, name: str) -> List[float]:
    """Return what was measured after every epoch."""
    return [float(value) for value in row[name].split()]


def _last(row: Row, name: str) -> float:
    values = curve(row, name)
    return float(np.mean(values[-max(1, len(values) // LAST) :]))


MEASURES: Dict[str, Callable[[Row], float]] = {
    'test accuracy': lambda row: row['accuracy'],
    'test accuracy, last quarter': lambda row: _last(row, 'test_accuracies'),
    'reward accuracy': lambda row: curve(row, 'reward_accuracies')[-1],
    'reward accuracy, last quarter': lambda row: _last(row, 'reward_accuracies'),
    'reward loss': lambda row: curve(row, 'reward_losses')[-1],
    'training loss, last epoch': lambda row: curve(row, 'train_losses')[-1],
    'training loss, last quarter': lambda row: _last(row, 'train_losses'),
    'training loss, all epochs': lambda row: float(np.mean(curve(row, 'train_losses'))),
}


def pilot_block(rows: Sequence[Row]) -> str:
    """Write how masks differ and how noisy a training is, in every measure.

    Args:
        rows: Trainings of some masks of one attention, some with several seeds.
    """
    lines = []
    for name, measure in MEASURES.items():
        values = {Job(row['mask'], row['seed']): measure(row) for row in rows}
        found = spread_of({job: v for job, v in values.items() if np.isfinite(v)})
        lines.append(
            [
                name,
                f'{statistics.fmean(values.values()):.3f}',
                f'{found.spread:.3f}',
                f'{found.noise:.3f}',
                f'{found.ratio():.2f}',
                f'{found.ratio(len(SEEDS)):.2f}',
                f'{found.ratio_at_least(len(SEEDS)):.2f}',
            ]
        )
    head = [
        'measure',
        'mean',
        'spread of true means',
        'noise of a training',
        'spread / noise',
        f'spread / noise of a mean of {len(SEEDS)}',
        'at least (90 %)',
    ]
    seconds, cpu = (
        statistics.fmean(row[name] for row in rows)
        for name in ('seconds', 'cpu_seconds')
    )
    masks = len({row['mask'] for row in rows})
    return (
        f'{markdown_table(head, lines)}\n\n'
        f'{len(rows)} trainings of {masks} masks; a training takes {seconds:.0f} s, of '
        f'the processor {cpu:.0f} s.'
    )
