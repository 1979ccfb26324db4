"""Does a protocol tell masks apart? From a few masks that are trained several times."""

import statistics
from typing import Callable, Dict, List, Mapping, Sequence

import numpy as np

from studies.bench.order import SEEDS, Job
from studies.bench.variance import Spread, spread_of
from studies.report_text import CONFIDENCE, machines, markdown_table, mean_interval
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


TOLD_APART = (
    'spread of true means',
    'noise of a training',
    'spread / noise',
    f'spread / noise of a mean of {len(SEEDS)}',
    'at least (90 %)',
)


def _spread(rows: Sequence[Row], measure: Callable[[Row], float]) -> Spread:
    values = {Job(row['mask'], row['seed']): measure(row) for row in rows}
    return spread_of({job: v for job, v in values.items() if np.isfinite(v)})


def _told_apart(found: Spread) -> List[str]:
    return [
        f'{found.spread:.3f}',
        f'{found.noise:.3f}',
        f'{found.ratio():.2f}',
        f'{found.ratio(len(SEEDS)):.2f}',
        f'{found.ratio_at_least(len(SEEDS)):.2f}',
    ]


def pilot_block(rows: Sequence[Row]) -> str:
    """Write how masks differ and how noisy a training is, in every measure.

    Args:
        rows: Trainings of some masks of one attention, some with several seeds.
    """
    lines = []
    for name, measure in MEASURES.items():
        mean = statistics.fmean(measure(row) for row in rows)
        lines.append([name, f'{mean:.3f}', *_told_apart(_spread(rows, measure))])
    head = ['measure', 'mean', *TOLD_APART]
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


def pilots_block(files: Mapping[str, Sequence[Row]], rows: Sequence[Row]) -> str:
    """Write how far each pilot told masks apart, and whether processors differ.

    Args:
        files: The trainings of each pilot, by the name of its file.
        rows: The trainings of the bench.
    """
    head = ['file', 'attention', 'trainings', 'measure', *TOLD_APART]
    lines, sentences = [], []
    for name, own in files.items():
        start = [f'`{name}`', own[0]['attention'], str(len(own))]
        for measure in ('test accuracy', 'reward loss'):
            found = _spread(own, MEASURES[measure])
            lines.append([*start, measure, *_told_apart(found)])
        sentences += _between_processors(name, own, rows)
    return '\n\n'.join([markdown_table(head, lines), *sentences])


def _between_processors(
    name: str, pilot: Sequence[Row], rows: Sequence[Row]
) -> List[str]:
    """Compare a pilot's trainings with the same ones of the bench."""
    kept = 'protocol', 'attention', 'mask', 'seed'
    same = {tuple(row[key] for key in kept): row for row in rows}
    pairs = [(same.get(tuple(row[key] for key in kept)), row) for row in pilot]
    known = [(ours, row) for ours, row in pairs if ours is not None]
    if len(known) < 2:
        return []
    differences = [ours['accuracy'] - row['accuracy'] for ours, row in known]
    low, high = mean_interval(differences)
    here, there = machines(ours for ours, _ in known), machines(row for _, row in known)
    mean, deviation = statistics.fmean(differences), statistics.stdev(differences)
    return [
        f'{len(known)} trainings of `{name}` ({there}) were repeated in the bench '
        f'({here}). Their test accuracies differ by {mean:+.2f} points in the mean '
        f'({CONFIDENCE:.0%} interval {low:+.2f} to {high:+.2f}), with a standard '
        f'deviation of {deviation:.2f}.'
    ]
