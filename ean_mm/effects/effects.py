"""What attention in each block brings, and how sure that is."""

from dataclasses import asdict, dataclass
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ean_mm.mask import Mask

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

    @property
    def place(self) -> Place:
        """Where the block is."""
        return self.module, self.stage, self.block


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
    probability: Optional[float]
    """that it is better at all"""


@dataclass(frozen=True)
class Recommendation:
    """The mask of the highest expected reward."""

    mask: Dict[str, str]
    """bits of each module"""
    over_none: Optional[Gain]
    over_all: Optional[Gain]


@dataclass(frozen=True)
class Effects:
    """What a search says about the blocks; effects and gains in points of the metric.

    Intervals hold the truth with a probability of 95 %, if the model is right. Of what
    was read from a file, that which it does not say is None or empty.
    """

    metric: str
    measure: str
    """what was measured: the metric, or a loss as -100 times its value"""
    budget: Optional[int]
    """iterations of training that this is about; None for a supernet's weights"""
    judgements: Optional[int]
    noise: Optional[float]
    """standard deviation of one judgement"""
    explained: Optional[float]
    """share of the variance of judgements that the model foretells from the others;
    may be below 0"""
    blocks: List[BlockEffect]
    """in the network's order"""
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

    @property
    def stage_blocks(self) -> Dict[str, Tuple[int, ...]]:
        """For each module the number of blocks in each stage."""
        last: Dict[str, Dict[int, int]] = {}
        for each in self.blocks:
            last.setdefault(each.module, {})[each.stage] = each.block
        return {module: tuple(stages.values()) for module, stages in last.items()}

    @property
    def masks(self) -> Dict[str, Mask]:
        """The recommended mask of each module; none if that is not known."""
        stage_blocks = self.stage_blocks
        return {
            module: Mask.parse(bits, stage_blocks[module])
            for module, bits in self.recommended.mask.items()
        }

    def plugged(self) -> List[Optional[bool]]:
        """Whether the recommended mask has each block's bit set; None if unknown."""
        if not self.recommended.mask:
            return [None] * len(self.blocks)
        return [bool(bit) for mask in self.masks.values() for bit in mask.bits]

    def verdict(self, block: BlockEffect) -> int:
        """Return 1 where attention helps, -1 where it hurts, 0 if unknown."""
        if not self.tells_apart:
            return 0
        return (block.low > 0) - (block.high < 0)

    def name_of(self, place: Place) -> str:
        """Name a block, with its module if there are several."""
        module, stage, block = place
        prefix = f'{module} ' if len(self.stage_blocks) > 1 else ''
        return f'{prefix}stage {stage} block {block}'

    def summary(self) -> str:
        """Say it in a few plain sentences."""
        return f'{self._about_blocks()} {self._about_mask()}'

    def _about_blocks(self) -> str:
        if not self.tells_apart:
            more = 'more than could be trained'
            if self.trainings_to_halve is not None:
                more = f'about {self.trainings_to_halve} more'
            return (
                f'these {self.judgements} judgements do not tell the blocks apart; '
                f'{more} would halve the intervals.'
            )
        parts, unsure = [], len(self.blocks)
        for verb, verdict in (('helps', 1), ('harms', -1)):
            sure = [each for each in self.blocks if self.verdict(each) == verdict]
            sure.sort(key=lambda each: -abs(each.effect))
            unsure -= len(sure)
            if sure:
                parts.append(f'{verb} most in {", ".join(map(self._told, sure[:3]))}')
        text = f'attention {" and ".join(parts)}'
        if unsure:
            text += f'; {unsure} of {len(self.blocks)} blocks may go either way'
        return f'{text}.'

    def _told(self, each: BlockEffect) -> str:
        return (
            f'{self.name_of(each.place)} ({each.effect:+.1f}, '
            f'{each.low:.1f} to {each.high:.1f})'
        )

    def _about_mask(self) -> str:
        over = dict(none=self.recommended.over_none, all=self.recommended.over_all)
        gains = [
            f'{gain.gain:+.1f} ({gain.low:.1f} to {gain.high:.1f}) over {name}, better '
            f'with probability {gain.probability:.2f}'
            for name, gain in over.items()
            if gain is not None
        ]
        mask = ', '.join(self.recommended.mask.values())
        return f'Expected of {mask}: {"; ".join(gains)}.'


def places(stage_blocks: Mapping[str, Sequence[int]]) -> Iterator[Place]:
    """Yield the places of all blocks, in the network's order.

    Args:
        stage_blocks: For each module the number of blocks in each stage.
    """
    for module, stages in stage_blocks.items():
        for stage, num_blocks in enumerate(stages, 1):
            for block in range(1, num_blocks + 1):
                yield module, stage, block
