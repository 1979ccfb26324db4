"""The hyperparameters of the kernel, from what was judged."""

import warnings
from functools import partial
from typing import Any, List, Optional, Tuple

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor

from ean_mm.search.surrogate.kernel import MaskKernel

Prior = Tuple[float, float]
"""centre of a hyperparameter, and deviation of its logarithm"""

SINGLES: Prior = (0.3, 1.5)
PAIRS: Prior = (0.1, 1.5)
REST: Prior = (0.02, 1.0)
NOISE: Prior = (0.5, 1.0)
CORRELATION: Prior = (0.7, 0.5)
KNOWN_NOISE = 0.25
"""deviation of the noise's logarithm where it was told"""
MIN_VALUES = 3
STEP = 1e-3


def fit_kernels(
    inputs: Any, targets: Any, num_levels: int, noise: Optional[float] = None
) -> List[MaskKernel]:
    """Find the hyperparameters of the highest posterior density, and others as likely.

    The density is the marginal likelihood times wide log-normal priors that expect
    little of the blocks and much of the noise. The likelihood of a dozen values alone
    is often highest where there is no noise, or nothing else.

    Args:
        inputs: Masks as spins, and the places of their budgets (N, L + 1).
        targets: Their values, standardised (N,).
        num_levels: Number of budgets.
        noise: Variance of the noise of standardised values at the full budget, where
            it is known.

    Returns:
        The most probable kernel, and 2 H kernels for H hyperparameters that spread as
        these do: the points of a cubature of a Gaussian around the most probable one.
        None of these where there are too few values to learn from.
    """
    noises = [NOISE] * num_levels
    if noise is not None:
        noises[-1] = (float(np.clip(noise, 1e-4, 10.0)), KNOWN_NOISE)
    # in the order of the kernel's theta, which is that of their names
    priors = [*noises, PAIRS, REST, SINGLES]
    if num_levels > 1:
        priors.insert(0, CORRELATION)
    centres = np.log([centre for centre, _ in priors])
    widths = np.array([width for _, width in priors])
    kernel = MaskKernel(
        singles=SINGLES[0],
        pairs=PAIRS[0],
        rest=REST[0],
        correlation=CORRELATION[0] if num_levels > 1 else 1.0,
        noise=tuple(c for c, _ in noises) if num_levels > 1 else noises[0][0],
        length=max((inputs.shape[1] - 1) / 3, 1.0),
    )
    if len(targets) < MIN_VALUES:
        return [kernel]
    regressor = GaussianProcessRegressor(
        kernel, alpha=1e-8, optimizer=partial(_most_probable, centres, widths)
    )
    with warnings.catch_warnings():  # at a bound; the prior has its say there
        warnings.simplefilter('ignore', ConvergenceWarning)
        regressor.fit(inputs, targets)
    best = regressor.kernel_
    bounds = best.bounds

    def slope(theta: Any) -> Any:
        theta = np.clip(theta, bounds[:, 0], bounds[:, 1])
        _, gradient = regressor.log_marginal_likelihood(theta, eval_gradient=True)
        return (theta - centres) / widths**2 - gradient

    steps = STEP * np.eye(len(centres))
    curvature = np.array(
        [slope(best.theta + step) - slope(best.theta - step) for step in steps]
    ) / (2 * STEP)
    precisions, axes = np.linalg.eigh((curvature + curvature.T) / 2)
    # the likelihood may be flat, and no posterior is wider than its prior
    precisions = np.maximum(precisions, 1 / widths.max() ** 2)
    spread = axes / np.sqrt(precisions) * np.sqrt(len(centres))
    others = [best.theta + sign * column for column in spread.T for sign in (1, -1)]
    return [best] + [
        best.clone_with_theta(np.clip(theta, bounds[:, 0], bounds[:, 1]))
        for theta in others
    ]


def _most_probable(
    centres: Any, widths: Any, objective: Any, start: Any, bounds: Any
) -> Tuple[Any, float]:
    """Maximise the likelihood times the prior, from the prior's centre."""

    def penalised(theta: Any) -> Tuple[float, Any]:
        value, gradient = objective(theta, eval_gradient=True)
        away = (theta - centres) / widths
        return value + away @ away / 2, gradient + away / widths

    result = minimize(penalised, start, jac=True, bounds=bounds, method='L-BFGS-B')
    return result.x, result.fun
