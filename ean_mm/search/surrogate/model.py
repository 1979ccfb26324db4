"""What is known of all masks, from the ones that were judged."""

from copy import copy
from typing import Any, Callable, Iterable, List, Optional, Sequence, Tuple

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from ean_mm.search.history import Judgement
from ean_mm.search.surrogate.hyperparameters import fit_kernels
from ean_mm.search.surrogate.prior import prior_draw, spins_of

Function = Callable[[Any], Any]

OUTLIER = 10.0
"""values are clipped that are so many standard deviations below the median"""


class MaskModel:
    """A Gaussian process over masks, at the full budget and below.

    The values of each budget are standardised by themselves, as level and scale differ.
    The hyperparameters of :class:`~ean_mm.search.surrogate.kernel.MaskKernel` are the
    most probable ones; see
    :func:`~ean_mm.search.surrogate.hyperparameters.fit_kernels`. Nothing is drawn: the
    same judgements give the same model.

    Args:
        num_bits: Number L of bits in a mask.
        budgets: The budgets that there may be, in ascending order.
        noise: Standard deviation of a value at the full budget, where it is known.
    """

    def __init__(
        self,
        num_bits: int,
        budgets: Sequence[Optional[int]] = (None,),
        noise: Optional[float] = None,
    ) -> None:
        self.num_bits = num_bits
        self.budgets = list(budgets)
        self.known_noise = noise

    def fit(
        self,
        masks: Any,
        values: Any,
        budgets: Optional[Sequence[Optional[int]]] = None,
        diverged: Optional[Sequence[bool]] = None,
    ) -> 'MaskModel':
        """Learn from judged masks.

        Args:
            masks: Masks (N, L) of 0 and 1.
            values: What each was worth (N,). Those that are not finite, of diverged
                masks or far below the others count as a bit worse than the worst other.
            budgets: The budget of each; by default the full one.
            diverged: Which of them diverged.
        """
        num = len(values)
        full = len(self.budgets) - 1
        levels = np.full(num, full)
        if budgets is not None:
            levels = np.array([self.budgets.index(budget) for budget in budgets])
        flags = np.zeros(num, bool) if diverged is None else np.asarray(diverged)
        values = np.array(values, dtype=float)
        means, scales = np.zeros(full + 1), np.full(full + 1, np.nan)
        for level in range(full + 1):
            here = levels == level
            if here.any():
                values[here] = clip_outliers(values[here], flags[here])
                means[level] = values[here].mean()
                if here.sum() > 1 and np.ptp(values[here]) > 0:
                    scales[level] = values[here].std()
        scales = _filled(scales)
        if not (levels == full).any():
            means[full] = means[levels.max(initial=0)]
        self.means, self.scales = means, scales
        self.inputs = np.hstack([spins_of(masks), levels[:, None]])  # (N, L + 1)
        self.targets = (values - means[levels]) / scales[levels]  # (N,)
        noise = None
        if self.known_noise is not None:
            noise = (self.known_noise / scales[full]) ** 2
        kernels = fit_kernels(self.inputs, self.targets, full + 1, noise)
        self.kernel, self._others = kernels[0], kernels[1:] or kernels
        self._condition()
        return self

    @classmethod
    def of(
        cls,
        judgements: Iterable[Judgement],
        value: Callable[[Judgement], float] = lambda judgement: judgement.reward,
        budgets: Optional[Sequence[Optional[int]]] = None,
        noise: Optional[float] = None,
    ) -> 'MaskModel':
        """Learn from judgements.

        Args:
            judgements: One or more.
            value: What of a judgement is modelled, by default its reward.
            budgets: The budgets that there may be, by default those of the judgements.
            noise: Standard deviation of a value at the full budget, where it is known.
        """
        known = list(judgements)
        if budgets is None:
            budgets = sorted({each.budget for each in known}, key=lambda b: b or 0)
        return cls(len(known[0].bits), budgets, noise).fit(
            [each.bits for each in known],
            [value(each) for each in known],
            [each.budget for each in known],
            [each.diverged for each in known],
        )

    def _condition(self) -> None:
        """Factorise the covariance of the values."""
        self.factor = cholesky(
            self.kernel(self.inputs) + 1e-8 * np.eye(len(self.inputs)), lower=True
        )
        self.weights = cho_solve((self.factor, True), self.targets)

    def extended(self, masks: Any) -> 'MaskModel':
        """Return a model that has also seen masks (M, L), of the expected values.

        The hyperparameters and the expected values stay, the deviations shrink.
        """
        rows = self._rows(masks)
        expected = self.kernel(rows, self.inputs) @ self.weights
        other = copy(self)
        other.inputs = np.vstack([self.inputs, rows])
        other.targets = np.append(self.targets, expected)
        other._condition()
        return other

    def mixture(self) -> List['MaskModel']:
        """Return models with other hyperparameters, as likely as these differ.

        What they say together does not take the hyperparameters for known.
        """
        models = []
        for kernel in self._others:
            models.append(copy(self))
            models[-1].kernel = kernel
            models[-1]._condition()
        return models

    def _rows(self, masks: Any) -> Any:
        spins = spins_of(masks)
        return np.hstack([spins, np.full((len(spins), 1), len(self.budgets) - 1)])

    @property
    def _levels(self) -> Any:
        """The places of the judged masks' budgets."""
        return self.inputs[:, -1].astype(int)

    @property
    def noise(self) -> float:
        """Standard deviation of a value at the full budget."""
        variance = np.atleast_1d(self.kernel.noise)[-1]
        return float(np.sqrt(variance) * self.scales[-1])

    def information(self) -> Any:
        """Return what a judgement at each budget surely says of a mask at the full one.

        It is r^2 / (1 - r^2) for the correlation r of the two, in relation to that of
        the full budget, where it is signal to noise; it grows in proportion to the
        judgements. As of hyperparameters that few judgements leave open only the worst
        is sure, it is the least of those of :meth:`mixture`: measured, the most
        probable ones trust short trainings that mislead.
        """
        shares = []
        for kernel in self._others:
            noise = np.atleast_1d(kernel.noise)
            signal = kernel.singles + kernel.pairs + kernel.rest
            shared = np.full(len(noise), kernel.correlation)
            shared[-1] = 1.0
            squared = shared**2 * signal / (signal + noise)
            worth = squared / (1 - squared)
            shares.append(worth / worth[-1])
        return np.min(shares, axis=0)

    def mean(self, masks: Any) -> Any:
        """Return the expected values of masks (N, L) at the full budget, (N,)."""
        shared = self.kernel(self._rows(masks), self.inputs)
        return self.means[-1] + self.scales[-1] * (shared @ self.weights)

    def predict(self, masks: Any) -> Tuple[Any, Any]:
        """Return the expected values and their standard deviations, without noise."""
        shared = self.kernel(self._rows(masks), self.inputs)
        mean, deviation = self.linear(shared, self.kernel.variance)
        return self.means[-1] + mean, deviation

    def linear(self, shared: Any, prior: Any) -> Tuple[Any, Any]:
        """Return what is known of linear functions of the values of all masks.

        Args:
            shared: Their covariances with the judged values, standardised, (M, N).
            prior: Their variances before any judgement, standardised, (M,).

        Returns:
            Means and standard deviations (M,), in points.
        """
        explained = solve_triangular(self.factor, shared.T, lower=True)
        variance = np.maximum(prior - (explained**2).sum(axis=0), 0)
        scale = self.scales[-1]
        return scale * (shared @ self.weights), scale * np.sqrt(variance)

    def gain(self, mask: Any, over: Any) -> Tuple[float, float]:
        """Return what one mask is expected to be better than another, and how surely.

        Returns:
            The mean and the standard deviation, in points at the full budget.
        """
        rows = self._rows([mask, over])
        shared = self.kernel(rows, self.inputs)
        prior = 2 * (self.kernel.variance - self.kernel(rows[:1], rows[1:])[0])
        mean, deviation = self.linear(shared[:1] - shared[1:], prior)
        return float(mean[0]), float(deviation[0])

    def draw(self, rng: np.random.Generator) -> Function:
        """Draw a function of masks from what is known of them (Thompson sampling).

        A function drawn from the prior is corrected by what it misses of the values
        (Matheron's rule), which gives the values of all masks jointly.
        """
        kernel, full = self.kernel, len(self.budgets) - 1
        common = prior_draw(kernel, self.num_bits, rng)
        own = [prior_draw(kernel, self.num_bits, rng) for _ in self.budgets]
        share = np.sqrt([kernel.correlation, 1 - kernel.correlation])

        def prior(masks: Any, level: int) -> Any:
            return share[0] * common(masks) + share[1] * own[level](masks)

        judged, levels = (self.inputs[:, :-1] > 0).astype(int), self._levels
        drawn = np.zeros(len(judged))
        for level in np.unique(levels):
            drawn[levels == level] = prior(judged[levels == level], level)
        noise = np.sqrt(np.atleast_1d(kernel.noise)[levels])
        missed = self.targets - drawn - noise * rng.standard_normal(len(judged))
        weights = cho_solve((self.factor, True), missed)

        def function(masks: Any) -> Any:
            corrected = kernel(self._rows(masks), self.inputs) @ weights
            value = prior(np.asarray(masks), full) + corrected
            return self.means[-1] + self.scales[-1] * value

        return function

    def leave_one_out(self) -> Tuple[Any, Any]:
        """Return each value as predicted from the others, with its deviation.

        Both are those of a noisy value, in the points of its budget: Rasmussen and
        Williams, Gaussian Processes for Machine Learning, equation 5.12.
        """
        inverse = cho_solve((self.factor, True), np.eye(len(self.factor)))
        means, scales = self.means[self._levels], self.scales[self._levels]
        predicted = self.targets - self.weights / np.diag(inverse)
        return means + scales * predicted, scales / np.sqrt(np.diag(inverse))

    def values(self) -> Any:
        """Return the values as they were taken in, outliers clipped, in points."""
        return self.means[self._levels] + self.scales[self._levels] * self.targets


def clip_outliers(values: Any, diverged: Any) -> Any:
    """Replace what is no value of a sound training by a bit less than the worst other.

    Args:
        values: Values (N,), of one budget.
        diverged: Which of them are of diverged trainings (N,).
    """
    sound = np.isfinite(values) & ~np.asarray(diverged, bool)
    if sound.sum() > 3:
        median = np.median(values[sound])
        deviation = 1.4826 * np.median(np.abs(values[sound] - median))
        if deviation > 0:
            sound &= ~(values < median - OUTLIER * deviation)
    if not sound.any():
        return np.zeros(len(values))
    worst = values[sound].min() - values[sound].std()
    return np.where(sound, values, worst)


def _filled(scales: Any) -> Any:
    """Give budgets without a scale of their own that of the nearest one."""
    known = [level for level in range(len(scales)) if np.isfinite(scales[level])]
    if not known:
        return np.ones(len(scales))
    nearest: List[int] = [
        min(known, key=lambda other: abs(other - level)) for level in range(len(scales))
    ]
    return scales[nearest]
