"""A covariance of masks that is diagonal in the Walsh basis."""

from dataclasses import dataclass
from typing import Any, Optional, Sequence, Union

import numpy as np
from scipy.special import binom
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

VARIANCES = (1e-5, 1e2)
CORRELATIONS = (0.02, 0.999)


@dataclass(eq=False, repr=False)
class MaskKernel(Kernel):
    """Covariance of what masks are worth, at one budget or several.

    A row of X is the L bits of a mask as spins, -1 or 1, and the place of its budget,
    counted from 0; its columns are L + 1. With the sum of products t of the spins of
    two masks, which is L minus twice their Hamming distance d, their covariance is

        constant + singles t / L + pairs (t^2 - L) / (L^2 - L) + rest exp(-d / length)

    The terms are what an independent random value for each block, one for each pair of
    blocks, and a Gaussian radial basis function of the spins give. All depend on d
    only, so that the kernel is diagonal in the Walsh basis: with the product of the
    spins of a set S of blocks, chi_S, it is the sum over all S of

        lambda_|S| chi_S(mask) chi_S(other mask)

    Thus the values of masks are sums of w_S chi_S with independent Gaussian w_S, whose
    variances are :meth:`walsh`, and questions about them have answers in closed form
    for any number of blocks: 2 w_{b} is the effect of block b, 4 w_{b, c} that of the
    pair of b and c. COMBO (https://arxiv.org/abs/1902.00448) has the general case.

    Values at different budgets are correlated outputs: the covariance is multiplied by
    ``correlation`` if the budgets differ. Noise has a variance for each budget, and is
    on the diagonal only.

    Args:
        singles: Variance that single blocks explain.
        pairs: Variance that pairs of blocks explain.
        rest: Variance of what depends on all blocks.
        correlation: Correlation of values at different budgets.
        noise: Variance of the noise at each budget.
        constant: Variance of the mean of all masks.
        length: Hamming distance over which the last term falls to 1/e.
    """

    singles: float = 0.6
    pairs: float = 0.2
    rest: float = 0.1
    correlation: float = 0.7
    noise: Union[float, Sequence[float]] = 0.2
    constant: float = 4.0
    length: float = 3.0

    @property
    def hyperparameter_correlation(self) -> Hyperparameter:
        """Not searched where there is one budget."""
        bounds = CORRELATIONS if np.size(self.noise) > 1 else 'fixed'
        return Hyperparameter('correlation', 'numeric', bounds)

    @property
    def hyperparameter_noise(self) -> Hyperparameter:
        return Hyperparameter('noise', 'numeric', VARIANCES, np.size(self.noise))

    hyperparameter_pairs = Hyperparameter('pairs', 'numeric', VARIANCES)
    hyperparameter_rest = Hyperparameter('rest', 'numeric', VARIANCES)
    hyperparameter_singles = Hyperparameter('singles', 'numeric', VARIANCES)

    def __call__(
        self, X: Any, Y: Optional[Any] = None, eval_gradient: bool = False
    ) -> Any:
        """Return the covariances (N, M), with noise if Y is not given.

        With ``eval_gradient`` also return their derivatives by the logarithms of the
        hyperparameters, (N, N, H), in the order of :attr:`hyperparameters`.
        """
        first, second = np.asarray(X), np.asarray(X if Y is None else Y)
        num_bits = first.shape[1] - 1
        agreement = first[:, :-1] @ second[:, :-1].T
        same = first[:, -1:] == second[:, -1]
        between = np.where(same, 1.0, self.correlation)
        parts = [
            part * between
            for part in (
                self.singles * agreement / num_bits,
                self.pairs * (agreement**2 - num_bits) / max(num_bits**2 - num_bits, 1),
                self.rest * np.exp((agreement - num_bits) / (2 * self.length)),
            )
        ]
        value = sum(parts) + self.constant * between
        if Y is not None:
            return value
        levels = first[:, -1].astype(int)
        noise = np.atleast_1d(self.noise)
        gradients = []
        if np.size(self.noise) > 1:
            gradients.append(np.where(same, 0.0, value))
        gradients += [
            np.diag(np.where(levels == level, noise[level], 0.0))
            for level in range(len(noise))
        ]
        value = value + np.diag(noise[levels])
        if not eval_gradient:
            return value
        singles, pairs, rest = parts
        return value, np.stack([*gradients, pairs, rest, singles], axis=-1)

    def diag(self, X: Any) -> Any:
        """Return the variance of each row, with noise."""
        levels = np.asarray(X)[:, -1].astype(int)
        return self.variance + np.atleast_1d(self.noise)[levels]

    @property
    def variance(self) -> float:
        """The variance of a mask's value."""
        return self.constant + self.singles + self.pairs + self.rest

    def is_stationary(self) -> bool:
        """Say that it is not what scikit-learn calls stationary."""
        return False

    def walsh(self, num_bits: int) -> Any:
        """Return the variances lambda_r of w_S for sets of r = 0 to L blocks, (L + 1,).

        The radial basis function is a product over blocks of (1 + p) / 2 +
        (1 - p) / 2 s s' with p = exp(-1 / length), which gives its share at once.
        """
        step = np.exp(-1 / self.length)
        orders = np.arange(num_bits + 1)
        shares = ((1 + step) / 2) ** (num_bits - orders) * ((1 - step) / 2) ** orders
        variances = self.rest * shares
        for order, part in enumerate((self.constant, self.singles, self.pairs)):
            if order <= num_bits:
                variances[order] += part / binom(num_bits, order)
        return variances
