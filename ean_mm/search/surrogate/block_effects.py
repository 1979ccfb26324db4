"""Finds what attention in each block brings."""

from typing import Any, Callable, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from scipy.stats import norm

from ean_mm.effects.effects import (
    BlockEffect,
    Effects,
    Gain,
    PairEffect,
    Place,
    Recommendation,
    places,
)
from ean_mm.errors import EANError
from ean_mm.search.history import Judgement
from ean_mm.search.space import Bits, split_bits
from ean_mm.search.surrogate.maximize import best_mask
from ean_mm.search.surrogate.model import MaskModel

MAX_TRAININGS = 1000
NUM_PAIRS = 5
LEVEL = 1.96
"""half the width of a 95 % interval, in standard deviations"""

Known = Tuple[Any, Any]
"""means and standard deviations"""


def block_effects(
    judgements: Iterable[Judgement],
    stage_blocks: Mapping[str, Sequence[int]],
    *,
    metric: str = 'accuracy/top1',
    measure: str = 'metric',
    recommended: Optional[Bits] = None,
    noise: Optional[float] = None,
) -> Effects:
    """Find what attention in each block brings.

    A model is fitted to what was measured, without what a reward adds for sparsity or
    subtracts for a cost. The effect of a block is the mean over all masks of the
    others of the value with attention in it minus that without; the effect of a pair
    is the mean of f(1, 1) - f(1, 0) - f(0, 1) + f(0, 0).

    Args:
        judgements: All judgements of a search, as its history.
        stage_blocks: For each module with a mask, the number of blocks in each of its
            stages, as :attr:`~ean_mm.search.space.SearchSpace.stage_blocks`.
        metric: Name of the metric.
        measure: What is modelled: ``'metric'``, or ``'loss'`` or ``'train_loss'`` as
            -100 times its value.
        recommended: The mask that the search ended with; by default the one with the
            highest expected reward, by a second model, of rewards.
        noise: Standard deviation of a judgement at the full budget, where it is known.

    Raises:
        ValueError: There are no judgements.
    """
    known = list(judgements)
    if not known:
        raise EANError('there are no judgements yet, of which effects could be found')
    model = MaskModel.of(known, lambda each: _measured(each, measure), noise=noise)
    if recommended is None:
        rewards = MaskModel.of(known, noise=noise)
        recommended = best_mask(
            rewards.mean,
            rewards.num_bits,
            np.random.default_rng(0),
            starts=[each.bits for each in known],
        )
    assert recommended is not None
    where = list(places(stage_blocks))
    models = model.mixture()
    effects, deviations = _contrasts(models, [[b] for b in range(len(where))])
    blocks = [
        BlockEffect(*place, *_interval(effect, deviation))
        for place, effect, deviation in zip(where, effects, deviations)
    ]
    explained = _explained(model)
    # among many blocks of no effect, some interval excludes 0 by chance
    sure = norm.isf(0.025 / len(where))
    apart = bool((np.abs(effects) > sure * deviations).any())
    length = model.num_bits
    return Effects(
        metric=metric,
        measure=measure,
        budget=model.budgets[-1],
        judgements=len(known),
        noise=model.noise,
        explained=explained,
        blocks=blocks,
        pairs=_strongest_pairs(models, where),
        recommended=Recommendation(
            {n: str(m) for n, m in split_bits(recommended, stage_blocks).items()},
            _gain(models, recommended, (0,) * length),
            _gain(models, recommended, (1,) * length),
        ),
        trainings_to_halve=_trainings_to_halve(model),
        tells_apart=apart and explained > 0,
    )


def _measured(judgement: Judgement, measure: str) -> float:
    if measure == 'metric':
        return judgement.metric
    loss = getattr(judgement, measure)
    return float('nan') if loss is None else -100 * loss


def _interval(mean: Any, deviation: Any) -> Tuple[float, float, float]:
    half = LEVEL * deviation
    return float(mean), float(mean - half), float(mean + half)


def _walsh_inputs(model: MaskModel, sets: Sequence[Sequence[int]]) -> Tuple[Any, Any]:
    """Return the covariances of w_S with the judged values (M, N), and variances (M,).

    See :class:`~ean_mm.search.surrogate.kernel.MaskKernel`.
    """
    inputs, kernel = model.inputs, model.kernel
    variances = kernel.walsh(model.num_bits)[[len(each) for each in sets]]
    products = np.stack([inputs[:, list(each)].prod(axis=1) for each in sets])
    full = inputs[:, -1] == len(model.budgets) - 1
    between = np.where(full, 1.0, kernel.correlation)
    return variances[:, None] * products * between, variances


def _contrasts(models: Sequence[MaskModel], sets: Sequence[Sequence[int]]) -> Known:
    """Return the effects of sets of one or two blocks, 2^|S| w_S, and deviations."""
    mean, deviation = _mixed(
        models, lambda model: model.linear(*_walsh_inputs(model, sets))
    )
    factor = 2.0 ** np.array([len(each) for each in sets])
    return factor * mean, factor * deviation


def _mixed(models: Sequence[MaskModel], ask: Callable[[MaskModel], Known]) -> Known:
    """Return the mean and the standard deviation of what several models say."""
    means, deviations = map(np.array, zip(*map(ask, models)))
    variance = (deviations**2).mean(axis=0) + means.var(axis=0)
    return means.mean(axis=0), np.sqrt(variance)


def _strongest_pairs(
    models: Sequence[MaskModel], where: Sequence[Place]
) -> List[PairEffect]:
    sets = [(a, b) for b in range(len(where)) for a in range(b)]
    if not sets:
        return []
    effects, deviations = _contrasts(models, sets)
    strongest = np.argsort(-np.abs(effects), kind='stable')[:NUM_PAIRS]
    return [
        PairEffect(
            (where[sets[i][0]], where[sets[i][1]]),
            *_interval(effects[i], deviations[i]),
        )
        for i in strongest
    ]


def _gain(models: Sequence[MaskModel], mask: Bits, over: Bits) -> Gain:
    mean, deviation = _mixed(models, lambda model: model.gain(mask, over))
    if mask == over or not deviation > 0:
        return Gain(0.0, 0.0, 0.0, 0.0)
    return Gain(*_interval(mean, deviation), float(norm.cdf(mean / deviation)))


def _explained(model: MaskModel) -> float:
    """Return 1 - SSE / SST of predictions of each value from all others."""
    full = model.inputs[:, -1] == len(model.budgets) - 1
    values, predicted = model.values()[full], model.leave_one_out()[0][full]
    total = np.square(values - values.mean()).sum() if full.any() else 0.0
    if not total > 0:
        return 0.0
    return float(1 - np.square(values - predicted).sum() / total)


def _trainings_to_halve(model: MaskModel) -> Optional[int]:
    """Return how many further judgements would halve the blocks' deviations.

    These do not depend on the values, so that they are known beforehand; the further
    masks are couples of a random mask and its opposite.
    """
    rng = np.random.default_rng(0)
    random = rng.integers(2, size=(MAX_TRAININGS // 2, model.num_bits))
    masks = np.stack([random, 1 - random], axis=1).reshape(-1, model.num_bits)
    blocks = [[bit] for bit in range(model.num_bits)]
    target = _contrasts([model], blocks)[1].mean() / 2
    number = 2
    while number <= MAX_TRAININGS:
        further = model.extended(masks[:number])
        if _contrasts([further], blocks)[1].mean() <= target:
            return number
        number = max(number + 2, int(number * 1.1) // 2 * 2)
    return None
