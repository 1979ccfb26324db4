"""What attention in each block brings, and how sure that is."""

from dataclasses import asdict, dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from scipy.stats import norm

from ean_mm.errors import EANError
from ean_mm.mask import Mask
from ean_mm.search.history import Judgement
from ean_mm.search.space import Bits
from ean_mm.search.surrogate.maximize import best_mask
from ean_mm.search.surrogate.model import MaskModel

MAX_TRAININGS = 1000
NUM_PAIRS = 5
LEVEL = 1.96
"""half the width of a 95 % interval, in standard deviations"""

Place = Tuple[str, int, int]
"""name of the module, stage and block, counted from 1"""


@dataclass(frozen=True)
class BlockEffect:
    """What attention in a block brings, averaged over all masks of the others."""

    module: str
    stage: int
    block: int
    effect: float
    low: float
    high: float


@dataclass(frozen=True)
class PairEffect:
    """What attention in two blocks brings beyond the sum of what it brings in each."""

    blocks: Tuple[Place, Place]
    effect: float
    low: float
    high: float


@dataclass(frozen=True)
class Gain:
    """What the recommended mask is expected to be better than another one."""

    gain: float
    low: float
    high: float
    probability: float
    """that it is better at all"""


@dataclass(frozen=True)
class Recommendation:
    """The mask of the highest expected reward."""

    mask: Dict[str, str]
    over_none: Gain
    over_all: Gain


@dataclass(frozen=True)
class Effects:
    """What a search says about the blocks; effects and gains in points of the metric.

    Intervals hold the truth with a probability of 95 %, if the model is right.
    """

    metric: str
    measure: str
    """what was measured: the metric, or a loss as -100 times its value"""
    budget: Optional[int]
    """iterations of training that this is about; None for a supernet's weights"""
    judgements: int
    noise: float
    """standard deviation of one judgement"""
    explained: float
    """share of the variance of judgements that the model foretells from the others"""
    blocks: List[BlockEffect]
    pairs: List[PairEffect]
    """the strongest ones"""
    recommended: Recommendation
    trainings_to_halve: Optional[int]
    """further judgements that would halve the intervals; None if there were too many"""
    tells_apart: bool
    """whether the judgements tell blocks with an effect from those without"""

    def to_dict(self) -> Dict[str, Any]:
        """Return all of it as JSON can hold it."""
        facts = asdict(self)
        for pair in facts['pairs']:
            pair['blocks'] = [list(place) for place in pair['blocks']]
        return facts

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> 'Effects':
        """Read what :meth:`to_dict` returned."""
        recommended = facts['recommended']
        return cls(
            **{
                **facts,
                'blocks': [BlockEffect(**block) for block in facts['blocks']],
                'pairs': [
                    PairEffect(**{**pair, 'blocks': tuple(map(tuple, pair['blocks']))})
                    for pair in facts['pairs']
                ],
                'recommended': Recommendation(
                    recommended['mask'],
                    Gain(**recommended['over_none']),
                    Gain(**recommended['over_all']),
                ),
            }
        )

    def summary(self) -> str:
        """Say it in a few plain sentences."""
        return ' '.join([self._about_blocks(), self._about_mask()])

    def _about_blocks(self) -> str:
        if not self.tells_apart:
            more = 'more than could be trained'
            if self.trainings_to_halve is not None:
                more = f'about {self.trainings_to_halve} more'
            return (
                f'these {self.judgements} judgements do not tell the blocks apart; '
                f'{more} would halve the intervals.'
            )
        sure = [each for each in self.blocks if each.low > 0 or each.high < 0]
        helps = sorted((b for b in sure if b.effect > 0), key=lambda b: -b.effect)
        harms = sorted((b for b in sure if b.effect < 0), key=lambda b: b.effect)
        parts = []
        if helps:
            parts.append('helps most in ' + ', '.join(map(self._named, helps[:3])))
        if harms:
            parts.append('harms most in ' + ', '.join(map(self._named, harms[:3])))
        text = 'attention ' + ' and '.join(parts) + '; '
        unsure = len(self.blocks) - len(sure)
        text += f'{unsure} of {len(self.blocks)} blocks may go either way' * (
            unsure > 0
        )
        return text.removesuffix('; ') + '.'

    def _named(self, each: BlockEffect) -> str:
        modules = {block.module for block in self.blocks}
        module = f'{each.module} ' if len(modules) > 1 else ''
        return (
            f'{module}stage {each.stage} block {each.block} ({each.effect:+.1f}, '
            f'{each.low:.1f} to {each.high:.1f})'
        )

    def _about_mask(self) -> str:
        mask = ', '.join(self.recommended.mask.values())
        gains = [
            f'{gain.gain:+.1f} ({gain.low:.1f} to {gain.high:.1f}) over {name}, better '
            f'with probability {gain.probability:.2f}'
            for name, gain in (
                ('none', self.recommended.over_none),
                ('all', self.recommended.over_all),
            )
        ]
        return f'Expected of {mask}: ' + '; '.join(gains) + '.'


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
    places = _places(stage_blocks)
    effects, deviations = _contrasts(model, [[b] for b in range(len(places))])
    blocks = [
        BlockEffect(*place, *_interval(effect, deviation))
        for place, effect, deviation in zip(places, effects, deviations)
    ]
    explained = _explained(model)
    apart = any(block.low > 0 or block.high < 0 for block in blocks)
    length = model.num_bits
    return Effects(
        metric=metric,
        measure=measure,
        budget=model.budgets[-1],
        judgements=len(known),
        noise=model.noise,
        explained=explained,
        blocks=blocks,
        pairs=_strongest_pairs(model, places),
        recommended=Recommendation(
            _named_masks(recommended, stage_blocks),
            _gain(model, recommended, (0,) * length),
            _gain(model, recommended, (1,) * length),
        ),
        trainings_to_halve=_trainings_to_halve(model),
        tells_apart=bool(apart and explained > 0),
    )


def _measured(judgement: Judgement, measure: str) -> float:
    if measure == 'metric':
        return judgement.metric
    loss = getattr(judgement, measure)
    return float('nan') if loss is None else -100 * loss


def _places(stage_blocks: Mapping[str, Sequence[int]]) -> List[Place]:
    return [
        (module, stage, block + 1)
        for module, stages in stage_blocks.items()
        for stage, num_blocks in enumerate(stages, start=1)
        for block in range(num_blocks)
    ]


def _named_masks(
    bits: Bits, stage_blocks: Mapping[str, Sequence[int]]
) -> Dict[str, str]:
    masks, start = {}, 0
    for module, stages in stage_blocks.items():
        end = start + sum(stages)
        masks[module] = str(Mask(tuple(bits[start:end]), tuple(stages)))
        start = end
    return masks


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


def _contrasts(model: MaskModel, sets: Sequence[Sequence[int]]) -> Tuple[Any, Any]:
    """Return the effects of sets of one or two blocks, 2^|S| w_S, and deviations."""
    mean, deviation = model.linear(*_walsh_inputs(model, sets))
    factor = 2.0 ** np.array([len(each) for each in sets])
    return factor * mean, factor * deviation


def _strongest_pairs(model: MaskModel, places: Sequence[Place]) -> List[PairEffect]:
    sets = [(a, b) for b in range(len(places)) for a in range(b)]
    if not sets:
        return []
    effects, deviations = _contrasts(model, sets)
    strongest = np.argsort(-np.abs(effects), kind='stable')[:NUM_PAIRS]
    return [
        PairEffect(
            (places[sets[i][0]], places[sets[i][1]]),
            *_interval(effects[i], deviations[i]),
        )
        for i in strongest
    ]


def _gain(model: MaskModel, mask: Bits, over: Bits) -> Gain:
    mean, deviation = model.gain(mask, over)
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
    target = _contrasts(model, blocks)[1].mean() / 2
    number = 2
    while number <= MAX_TRAININGS:
        if _contrasts(model.extended(masks[:number]), blocks)[1].mean() <= target:
            return number
        number = max(number + 2, int(number * 1.1) // 2 * 2)
    return None
