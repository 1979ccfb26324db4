"""Simulated rewards whose best mask is known, to compare searchers on."""

from functools import cached_property
from typing import Any, Sequence

import numpy as np

from ean_mm.errors import EANError
from ean_mm.search.space import Bits

MAX_REACH = 16


class SimulatedReward:
    """A random accuracy over masks, plus ``sparsity_weight * sparsity``.

    With the spin s = 2 * bit - 1 of each block, the accuracy is

        mean_accuracy + sum_b field[b] s[b] + sum_b sum_d coupling[b, d] s[b] s[b-1-d]

    where a block interacts with the ``reach`` blocks before it, less the further away
    they are. Over uniform random masks its standard deviation is exactly ``spread``,
    and the pairwise terms have exactly the share ``pairwise`` of its variance. The best
    mask is found exactly, by dynamic programming along the blocks.

    Args:
        num_bits: Number L of bits in a mask.
        seed: Seed of the terms.
        spread: Standard deviation of the accuracy over random masks, in percent.
        pairwise: Share of the variance in pairwise terms, from 0 to 1.
        reach: Number of preceding blocks that a block interacts with, at most 16.
        mean_accuracy: Mean of the accuracy over random masks, in percent.
        sparsity_weight: Weight of the share of zero bits.

    Raises:
        ValueError: ``pairwise`` or ``reach`` is out of range.
    """

    def __init__(
        self,
        num_bits: int,
        *,
        seed: int = 0,
        spread: float = 1.5,
        pairwise: float = 0.3,
        reach: int = 8,
        mean_accuracy: float = 70.0,
        sparsity_weight: float = 2.0,
    ) -> None:
        if not 0 <= pairwise <= 1:
            raise EANError(f'pairwise={pairwise} is no share; give one from 0 to 1')
        if not 0 < reach <= MAX_REACH:
            raise EANError(f'reach={reach} must be from 1 to {MAX_REACH}')
        self.num_bits = num_bits
        self.reach = min(reach, max(num_bits - 1, 1))
        self.spread = spread
        self.mean_accuracy = mean_accuracy
        self.sparsity_weight = sparsity_weight

        random = np.random.default_rng(seed)
        self.field = random.standard_normal(num_bits)
        distances = np.arange(1, self.reach + 1)
        self.coupling = random.standard_normal((num_bits, self.reach)) / distances
        self.coupling[np.arange(num_bits)[:, None] < distances] = 0  # no block there
        # products of spins are uncorrelated, so that the squares add up to the variance
        self.field *= spread * _share(1 - pairwise, self.field)
        self.coupling *= spread * _share(pairwise, self.coupling)

    def accuracy(self, mask: Sequence[int]) -> float:
        """Return the accuracy of a mask, in percent."""
        spins = np.zeros(self.reach + self.num_bits)
        spins[self.reach :] = 2 * np.asarray(mask) - 1
        # (L, reach): the spins before each block, the nearest first
        windows = np.lib.stride_tricks.sliding_window_view(spins[:-1], self.reach)
        fields = self.field + (self.coupling * windows[:, ::-1]).sum(axis=1)
        return float(self.mean_accuracy + fields @ spins[self.reach :])

    def __call__(self, mask: Sequence[int]) -> float:
        """Return the reward of a mask."""
        sparsity = 1 - sum(mask) / self.num_bits
        return self.accuracy(mask) + self.sparsity_weight * sparsity

    @cached_property
    def best_mask(self) -> Bits:
        """The mask with the highest reward of all.

        The state of the dynamic program is the last ``reach`` bits, the newest one
        being the lowest; it keeps the best reward of all masks that end in them.
        """
        states = np.arange(2**self.reach)
        spins = 2 * (states[:, None] >> np.arange(self.reach) & 1) - 1
        cost = self.sparsity_weight / self.num_bits / 2
        totals = np.where(states == 0, 0.0, -np.inf)
        oldest_bits = []
        for field, coupling in zip(self.field, self.coupling):
            fields = field - cost + spins @ coupling
            extended = totals[:, None] + fields[:, None] * (-1, 1)  # (states, new bit)
            extended = extended.reshape(2, -1)  # (oldest bit, the others and the new)
            oldest_bits.append(extended.argmax(axis=0))
            totals = extended.max(axis=0)

        state, bits = int(totals.argmax()), []
        for oldest in reversed(oldest_bits):
            bits.append(state & 1)
            state = state >> 1 | int(oldest[state]) << self.reach - 1
        return tuple(reversed(bits))

    @cached_property
    def best_reward(self) -> float:
        """The reward of the best mask."""
        return self(self.best_mask)


class SimulatedTraining:
    """Trains masks whose true accuracy is known: measurements with noise.

    At a share t of the full training the accuracy of a mask is

        mean + rho(t) (truth - mean) + sqrt(1 - rho(t)^2) own + noise t^(-growth) e

    where ``own`` are the accuracies of another simulated problem of the same spread,
    what short trainings favour, and e is normal, drawn anew for each mask and share.
    With the time that is missing, the correlation rho falls as
    fidelity^((1 / t - 1) / 4): it is the fidelity at a fifth, and 1 at the end.

    Args:
        truth: The true accuracy; it has ``num_bits``, ``spread`` and ``mean_accuracy``.
        seed: Seed of the noise and of what short trainings favour.
        noise: Standard deviation of a full training's accuracy, in percent.
        fidelity: Correlation of the accuracy after a fifth of the training, without
            noise, with the truth.
        growth: How the noise grows as trainings get shorter.

    Raises:
        ValueError: The fidelity is no number above 0 and up to 1.
    """

    def __init__(
        self,
        truth: Any,
        *,
        seed: int = 0,
        noise: float = 0.28,
        fidelity: float = 1.0,
        growth: float = 0.15,
    ) -> None:
        if not 0 < fidelity <= 1:
            raise EANError(f'fidelity={fidelity} must be above 0 and at most 1')
        self.truth = truth
        self.num_bits = truth.num_bits
        self.seed = seed
        self.noise = noise
        self.fidelity = fidelity
        self.growth = growth
        self._own = SimulatedReward(
            truth.num_bits,
            seed=seed + 1_000_003,
            spread=truth.spread,
            mean_accuracy=0.0,
        )

    def correlation(self, share: float) -> float:
        """Return the correlation of a share of the training with the truth."""
        return float(self.fidelity ** ((1 / share - 1) / 4))

    def __call__(self, mask: Sequence[int], share: float = 1.0) -> float:
        """Return the measured accuracy of a mask after a share of the training."""
        mean, rho = self.truth.mean_accuracy, self.correlation(share)
        value = mean + rho * (self.truth.accuracy(mask) - mean)
        if rho < 1:
            value += (1 - rho**2) ** 0.5 * self._own.accuracy(mask)
        random = np.random.default_rng([self.seed, round(share * 10_000), *mask])
        return value + self.noise * share**-self.growth * random.standard_normal()


def _share(share: float, terms: Any) -> float:
    """Return the factor that makes the squares of the terms add up to a share."""
    total = np.square(terms).sum()
    return float(np.sqrt(share / total)) if total else 0.0
