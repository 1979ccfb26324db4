"""Numbers of a table of results as text: intervals, ranges, effort, Markdown."""

import statistics
from typing import Iterable, List, Sequence

from scipy import stats

from studies.results import Row

CONFIDENCE = 0.95
COLUMNS = dict(percent='.2f', parameters=',.0f')
"""what is compared, and how its numbers are written"""


def effort(rows: Iterable[Row]) -> str:
    """Say how many runs rows are of, and the time and the machines that they took."""
    runs = {row['config_hash']: row for row in rows}.values()
    hours = sum(row['train_seconds'] for row in runs) / 3600
    return f'{len(runs)} runs, {hours:.2f} hours on {machines(runs)}.'


def mean_interval(values: Sequence[float]) -> List[float]:
    """Return the t interval of a mean; an endless one for a single value."""
    if len(values) < 2:
        return [float('-inf'), float('inf')]
    mean = statistics.fmean(values)
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    half = quantile * statistics.stdev(values) / len(values) ** 0.5
    return [mean - half, mean + half]


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Write a table."""
    rows = [head, ['---'] * len(head), *lines]
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def with_deviation(values: Iterable[float], column: str) -> str:
    values, form = list(values), COLUMNS[column]
    if not values:
        return ''
    text = format(statistics.fmean(values), form)
    if len(values) > 1:
        text += f' ± {format(statistics.stdev(values), form)}'
    return text


def with_interval(values: Sequence[float], column: str) -> str:
    if not values:
        return ''
    form = f'+{COLUMNS[column]}'
    text = format(statistics.fmean(values), form)
    if len(values) > 1:
        low, high = (format(bound, form) for bound in mean_interval(values))
        text += f' ({low} to {high})'
    return text


def verdict(differences: Sequence[float]) -> str:
    """Say whether a mean difference is told apart from none."""
    low, high = mean_interval(differences)
    if low > 0:
        return 'more'
    return 'less' if high < 0 else 'no difference shown'


def span(rows: Sequence[Row], column: str) -> str:
    low, high = (end(row[column] for row in rows) for end in (min, max))
    return f'{low:,}' if low == high else f'{low:,} to {high:,}'


def machines(rows: Iterable[Row]) -> str:
    """Name the machines that rows were made on."""
    names = set()
    for row in rows:
        threads = 'thread' if row['threads'] == 1 else 'threads'
        names.add(
            f'{row["machine"]} ({row["threads"]} {threads}), PyTorch {row["torch"]}'
        )
    return '; '.join(sorted(names))
