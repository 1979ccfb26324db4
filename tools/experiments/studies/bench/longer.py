"""Does what a bench expects of masks hold in longer trainings on larger images?"""

from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np
from scipy.stats import kendalltau, pearsonr

from ean_mm.search.surrogate.model import MaskModel
from studies.bench.analysis import FEWEST
from studies.bench.order import SEEDS
from studies.bench.pilot import curve
from studies.report_text import markdown_table
from studies.results import Row
from studies.table import read_mask

# Higher is better in all of them.
MEASURES: Dict[str, Callable[[Row], float]] = {
    'test accuracy': lambda row: row['accuracy'],
    'reward accuracy': lambda row: curve(row, 'reward_accuracies')[-1],
    'reward loss': lambda row: -curve(row, 'reward_losses')[-1],
    'training loss, last epoch': lambda row: -curve(row, 'train_losses')[-1],
    'training loss, all epochs': lambda row: -float(
        np.mean(curve(row, 'train_losses'))
    ),
}


def expected_mean(
    rows: Sequence[Row], measure: Callable[[Row], float], masks: Sequence[str]
) -> List[float]:
    """Return what a model of the measured masks expects of masks.

    Args:
        rows: Trainings with one seed.
        measure: What of each is modelled, see :data:`MEASURES`.
        masks: Any masks.
    """
    bits = [read_mask(row['mask']).bits for row in rows]
    model = MaskModel(len(bits[0])).fit(bits, [measure(row) for row in rows])
    return model.mean([read_mask(mask).bits for mask in masks]).tolist()


def longer_block(
    benches: Dict[str, Sequence[Row]], longer: Dict[str, Dict[str, float]]
) -> str:
    """Compare what is expected after the bench's trainings with longer ones.

    Args:
        benches: The rows of each attention's bench.
        longer: By attention, the accuracy of masks in the longer trainings, in percent.
    """
    lines = []
    for attention, rows in benches.items():
        first = [row for row in rows if row['seed'] == SEEDS[0]]
        accuracies = longer.get(attention, {})
        if min(len(first), len(accuracies)) < FEWEST:
            continue
        for name, measure in MEASURES.items():
            expected = expected_mean(first, measure, list(accuracies))
            tau, r = _agreement(expected, list(accuracies.values()))
            counts = str(len(first)), str(len(accuracies))
            lines.append([attention, name, *counts, f'{tau:.2f}', f'{r:.2f}'])
    if not lines:
        return 'There are too few masks to compare.'
    head = [
        'attention',
        'measure of the short training',
        'masks trained shortly',
        'masks trained long',
        "Kendall's tau",
        'correlation',
    ]
    return markdown_table(head, lines)


def _agreement(one: Sequence[float], other: Sequence[float]) -> Tuple[float, float]:
    if np.ptp(one) == 0:
        return float('nan'), float('nan')
    return kendalltau(one, other).statistic, pearsonr(one, other).statistic
