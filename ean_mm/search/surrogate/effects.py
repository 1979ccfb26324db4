"""What attention in each block brings, and how sure that is."""

from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

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
    """whether the judgements tell blocks with an effect from those without: for one at
    least, an interval excludes 0 that is wide enough for as many blocks as there are
    (Bonferroni), and the model foretells something"""

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
