"""What a bench says of one attention, from as many masks as there are."""

import statistics
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from scipy.stats import kendalltau

from ean_mm.errors import EANError
from ean_mm.search import Effects, block_effects
from ean_mm.search.history import Judgement
from studies.bench.order import SEEDS, STAGE_BLOCKS, Job
from studies.bench.pilot import curve
from studies.bench.variance import Spread, shares, spread_of
from studies.ranking_report import noise_ceilings
from studies.results import Row
from studies.table import read_mask

FEWEST = 8
"""masks without which there are no effects and no ranks"""

# Higher is better in both.
EARLY = {
    'reward accuracy': ('reward_accuracies', 1),
    'training loss': ('train_losses', -1),
}
ALL, BETTER, OTHERS = 'all masks', 'better half', 'other seeds'


@dataclass(frozen=True)
class Analysis:
    """What is known of an attention."""

    attention: str
    trainings: Dict[Job, Row]
    accuracy: Spread
    """of the test accuracies"""
    shares: Dict[int, float]
    """see :func:`~studies.bench.variance.shares`"""
    ceiling: float
    """Kendall's tau that the true accuracies would have to the measured ones"""
    effects: Optional[Effects]
    """in points of test accuracy; None where there are too few masks"""
    taus: Dict[Tuple[str, str], List[float]]
    """by measure and masks, for each epoch: Kendall's tau between that measure then,
    of the first seed, and the accuracy at the end: the mean of all seeds, or of the
    other ones"""

    @property
    def masks(self) -> Dict[str, float]:
        """The test accuracy of each mask, in percent."""
        return self.accuracy.means

    @property
    def best(self) -> str:
        """The mask with the best accuracy measured."""
        return max(self.masks, key=self.masks.__getitem__)

    @property
    def recommended(self) -> Optional[str]:
        """The mask of which most is expected."""
        if self.effects is None:
            return None
        return next(iter(self.effects.recommended.mask.values()))

    def better_than(self, mask: str) -> Optional[float]:
        """Return the share of other masks that a mask has a better accuracy than."""
        others = [value for other, value in self.masks.items() if other != mask]
        if mask not in self.masks or not others:
            return None
        return float(np.mean([self.masks[mask] > value for value in others]))


def analyse(rows: Sequence[Row]) -> Dict[str, Analysis]:
    """Analyse what has been trained, for each attention.

    Args:
        rows: The rows of benches.

    Raises:
        ValueError: An attention has rows of several protocols.
    """
    by_attention: Dict[str, List[Row]] = {}
    for row in rows:
        by_attention.setdefault(row['attention'], []).append(row)
    return {name: _analyse(name, own) for name, own in by_attention.items()}


def _analyse(attention: str, rows: List[Row]) -> Analysis:
    protocols = sorted({row['protocol'] for row in rows})
    if len(protocols) > 1:
        raise EANError(
            f'the trainings of {attention} are of several protocols: '
            f'{", ".join(protocols)}; keep them in different files'
        )
    trainings = {Job(row['mask'], row['seed']): row for row in rows}
    accuracies = {job: row['accuracy'] for job, row in trainings.items()}
    accuracy = spread_of(accuracies)
    enough = len(accuracy.means) >= FEWEST
    return Analysis(
        attention,
        trainings,
        accuracy,
        shares(accuracy),
        _ceiling(accuracy, accuracies),
        _effects(accuracy) if enough else None,
        _taus(trainings, accuracy) if enough else {},
    )


def _ceiling(accuracy: Spread, accuracies: Dict[Job, float]) -> float:
    if not accuracy.noise > 0:
        return float('nan')
    by_seed: Dict[str, List[float]] = {}
    for job, value in accuracies.items():
        by_seed.setdefault(job.mask, []).append(
            value - accuracy.shifts.get(job.seed, 0)
        )
    return noise_ceilings(list(by_seed.values()))[1]


def _effects(accuracy: Spread) -> Effects:
    judgements = [
        Judgement(bits := read_mask(mask).bits, value, 1 - sum(bits) / 9, None, value)
        for mask, value in accuracy.means.items()
    ]
    return block_effects(
        judgements,
        {'backbone': STAGE_BLOCKS},
        metric='accuracy/top1',
        measure='metric',
        noise=accuracy.noise if accuracy.noise > 0 else None,
    )


def _taus(
    trainings: Dict[Job, Row], accuracy: Spread
) -> Dict[Tuple[str, str], List[float]]:
    first = {j.mask: row for j, row in trainings.items() if j.seed == SEEDS[0]}
    middle = statistics.median(accuracy.means.values())
    others: Dict[str, List[float]] = {}
    for job, row in trainings.items():
        if job.seed != SEEDS[0]:
            value = row['accuracy'] - accuracy.shifts.get(job.seed, 0)
            others.setdefault(job.mask, []).append(value)
    truths = {
        ALL: accuracy.means,
        BETTER: {m: v for m, v in accuracy.means.items() if v >= middle},
        OTHERS: {mask: statistics.fmean(values) for mask, values in others.items()},
    }
    taus = {}
    for measure, (column, sign) in EARLY.items():
        curves = {m: sign * np.array(curve(row, column)) for m, row in first.items()}
        for name, truth in truths.items():
            known = [mask for mask in truth if mask in curves]
            if len(known) < FEWEST:
                continue
            early = np.array([curves[mask] for mask in known])  # (masks, epochs)
            final = [truth[mask] for mask in known]
            taus[measure, name] = [
                float(kendalltau(values, final, nan_policy='omit').statistic)
                for values in early.T
            ]
    return taus
