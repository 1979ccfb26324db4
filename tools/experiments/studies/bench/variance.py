"""What of the differences between trained masks is the masks', and what is noise."""

import math
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Tuple

import numpy as np
from scipy.stats import f

from studies.bench.order import Job
from studies.table import read_mask

LEVEL = 0.9
"""probability with which a ratio is at least what is said"""


@dataclass(frozen=True)
class Spread:
    """A measure of trained masks, taken apart.

    The model is ``mask + seed + noise``: as a seed is the same initial weights and
    batches for all masks, what it adds to all of them is no noise.
    """

    means: Dict[str, float]
    """mean of each mask, as if all of them were trained with the first seed"""
    counts: Dict[str, int]
    """trainings of each mask"""
    shifts: Dict[int, float]
    """what each seed adds to all masks over what the first one adds"""
    noise: float
    """standard deviation of one training; NaN if too few masks were trained twice"""
    freedom: int
    """degrees of freedom that the noise was estimated with"""
    spread: float
    """standard deviation of the masks' true means, without noise"""

    @property
    def variance_of_noise(self) -> float:
        """What noise adds to the variance of the means."""
        inverse = np.mean([1 / count for count in self.counts.values()])
        return float(self.noise**2 * inverse)

    def ratio(self, trainings: int = 1) -> float:
        """Return the spread over the noise of a mean of so many trainings."""
        if not self.noise > 0:
            return math.nan
        return self.spread / self.noise * trainings**0.5

    def ratio_at_least(self, trainings: int = 1) -> float:
        """Return what that ratio is at least, with a probability of 90 %.

        By the F test; exact where all masks were trained equally often.
        """
        if not self.noise > 0 or len(self.means) < 2:
            return math.nan
        masks = len(self.means) - 1
        variance = np.var(list(self.means.values()), ddof=1)
        true = variance / f.ppf(LEVEL, masks, self.freedom) - self.variance_of_noise
        return float(max(0.0, true) ** 0.5 / self.noise * trainings**0.5)


def spread_of(values: Mapping[Job, float]) -> Spread:
    """Take a measure of trained masks apart, by analysis of variance.

    Seeds and noise are fitted to the masks that were trained more than once, by least
    squares, as not every one of them has every seed yet.

    Args:
        values: The measure of each training, finite.
    """
    by_mask: Dict[str, Dict[int, float]] = {}
    for job, value in values.items():
        by_mask.setdefault(job.mask, {})[job.seed] = value
    repeated = [seeds for seeds in by_mask.values() if len(seeds) > 1]
    shifts, noise, freedom = _seeds_and_noise(repeated)
    means = {
        mask: float(np.mean([value - shifts.get(s, 0.0) for s, value in seeds.items()]))
        for mask, seeds in by_mask.items()
    }
    counts = {mask: len(seeds) for mask, seeds in by_mask.items()}
    found = Spread(means, counts, shifts, noise, freedom, math.nan)
    if len(means) < 2 or math.isnan(noise):
        return found
    variance = np.var(list(means.values()), ddof=1) - found.variance_of_noise
    return replace(found, spread=max(0.0, float(variance)) ** 0.5)


def _seeds_and_noise(
    repeated: List[Dict[int, float]],
) -> Tuple[Dict[int, float], float, int]:
    """Return what each seed adds over the first, the noise, and its freedom."""
    seeds = sorted({seed for own in repeated for seed in own})
    rows: List[Any] = []
    values: List[float] = []
    for number, own in enumerate(repeated):
        for seed, value in own.items():
            row = np.zeros(len(repeated) + len(seeds))
            row[[number, len(repeated) + seeds.index(seed)]] = 1
            rows.append(np.delete(row, len(repeated)))  # the first seed adds nothing
            values.append(value)
    if not rows:
        return {}, math.nan, 0
    fitted, _, rank, _ = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)
    shifts = dict(zip(seeds, [0.0, *fitted[len(repeated) :].tolist()]))
    freedom = len(values) - int(rank)
    if freedom < 1:
        return shifts, math.nan, 0
    residuals = np.array(values) - np.array(rows) @ fitted
    return shifts, float((residuals @ residuals / freedom) ** 0.5), freedom


def shares(spread: Spread) -> Dict[int, float]:
    """Return which share of the masks' variance blocks and pairs of blocks explain.

    Adjusted for the noise and for the numbers of terms that are fitted.

    Returns:
        The share of single blocks (1), what pairs add to it (2), and the rest (3), as
        far as there are masks for twice as many terms.
    """
    values = np.array(list(spread.means.values()))
    total = spread.spread**2
    if not total > 0:
        return {}
    spins = 2 * np.array([read_mask(mask).bits for mask in spread.means]) - 1
    left, found = total, {}
    for order, terms in enumerate((_singles(spins), _with_pairs(spins)), start=1):
        if len(values) < 2 * terms.shape[1]:
            break
        fitted = np.linalg.lstsq(terms, values, rcond=None)[0]
        squares = np.square(values - terms @ fitted).sum()
        rest = squares / (len(values) - terms.shape[1]) - spread.variance_of_noise
        found[order] = float((left - rest) / total)
        left = rest
    if len(found) == 2:
        found[3] = float(left / total)
    return found


def _singles(spins: Any) -> Any:
    return np.hstack([np.ones((len(spins), 1)), spins])


def _with_pairs(spins: Any) -> Any:
    length = spins.shape[1]
    pairs = [spins[:, a] * spins[:, b] for b in range(length) for a in range(b)]
    return np.hstack([_singles(spins), np.stack(pairs, axis=1)])
