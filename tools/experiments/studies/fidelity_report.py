"""The report of short trainings: Kendall's tau to whole ones, beside the cost."""

import statistics
from typing import Any, Callable, Dict, List, Sequence, Set, Tuple

import numpy as np
from scipy.stats import kendalltau

from studies.fidelity import STARTS, FidelityTable, Short
from studies.report_text import markdown_table
from studies.results import Results, Row, Rows

RESAMPLES = 1000

# Higher is better in all of them.
MEASURES: Dict[str, Callable[[Row], float]] = {
    'accuracy': lambda row: row['percent'],
    'loss': lambda row: -row['loss'],
    'training loss, second half': lambda row: -row['train_loss'],
    'last twentieth': lambda row: -float(row['curve'].split()[-1]),
}


def fidelity_block(tables: Sequence[FidelityTable], whole: Results, rows: Rows) -> str:
    """Write how well short trainings rank masks, a row for each number of epochs.

    Args:
        tables: What was trained.
        whole: The whole trainings.
        rows: The short ones.
    """
    lines: List[List[str]] = []
    machines: Set[str] = set()
    seconds = 0.0
    for table in tables:
        reached = {
            mask: statistics.fmean(values)
            for mask, values in table.masks(whole).items()
        }
        for start, budgets in STARTS.items():
            for epochs in sorted(budgets):
                own = [
                    row
                    for mask in reached
                    for row in table.rows_of(Short(start, epochs, mask), rows)
                ]
                if len(own) < 3:
                    continue
                seconds += sum(row['seconds'] for row in own)
                machines.update(row['machine'] for row in own)
                truth = [reached[row['mask']] for row in own]
                lines.append(
                    [
                        table.attention,
                        start,
                        str(epochs),
                        str(len(own)),
                        *(
                            _tau([measure(row) for row in own], truth)
                            for measure in MEASURES.values()
                        ),
                        f'{_range([row["percent"] for row in own]):.1f}',
                        f'{statistics.fmean(row["seconds"] for row in own):.0f} s',
                    ]
                )
    if not lines:
        return 'No mask has been trained for a while yet.'
    head = ['attention', 'start', 'epochs', 'masks', *MEASURES, 'range', 'a mask takes']
    return (
        f'{markdown_table(head, lines)}\n\n'
        f'{seconds / 3600:.2f} hours of one thread on {"; ".join(sorted(machines))}, '
        'beside other work: the seconds are upper bounds.'
    )


def _tau(values: List[float], truth: List[float]) -> str:
    """Write Kendall's tau, with its standard error by resampling the masks."""
    tau = kendalltau(values, truth).statistic
    rng = np.random.default_rng(0)
    pairs: List[Tuple[Any, Any]] = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(values), size=len(values))
        pairs.append((np.take(values, drawn), np.take(truth, drawn)))
    taus = [kendalltau(*pair).statistic for pair in pairs]
    return f'{tau:.2f} ± {np.nanstd(taus):.2f}'


def _range(values: Sequence[float]) -> float:
    return max(values) - min(values)
