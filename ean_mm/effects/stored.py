"""What a mask file says that attention in each block brings, read with distrust."""

import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ean_mm.errors import EANError, one_line
from ean_mm.mask import Mask
from ean_mm.mask_parsing import MAX_BLOCKS

MAX_PAIRS = 100
MAX_NAME = 80
MAX_NUMBER = 10**9
MAX_POINTS = 10**6

MEASURES = ('metric', 'loss', 'train_loss')
Place = Tuple[str, int, int]
"""name of the module, stage and block, counted from 1"""


@dataclass(frozen=True)
class StoredBlock:
    """What attention in a block brings, with the ends of its 95 % interval."""

    place: Place
    effect: float
    low: float
    high: float


@dataclass(frozen=True)
class StoredPair:
    """What attention in two blocks brings beyond what it brings in each."""

    places: Tuple[Place, Place]
    effect: float
    low: float
    high: float


@dataclass(frozen=True)
class StoredGain:
    """What the recommended mask is expected to be better than another one."""

    gain: float
    low: float
    high: float
    probability: Optional[float]
    """that it is better at all"""


@dataclass(frozen=True)
class StoredEffects:
    """The entry ``effects`` of a mask file; what it does not say is None or empty.

    Effects, gains and noise are in points of the metric, or what :attr:`measure` says.
    """

    blocks: Sequence[StoredBlock]
    """in the network's order"""
    tells_apart: bool
    """whether the judgements tell blocks with an effect from those without"""
    metric: str = 'metric'
    measure: str = 'metric'
    """``'metric'``, or ``'loss'`` or ``'train_loss'``, which is -100 times its value"""
    budget: Optional[int] = None
    """iterations that each mask was trained for; None if a supernet judged them"""
    judgements: Optional[int] = None
    noise: Optional[float] = None
    """standard deviation of one judgement"""
    explained: Optional[float] = None
    """share of the variance of judgements that is foretold from the others; may be
    below 0"""
    pairs: Sequence[StoredPair] = ()
    """the strongest ones"""
    masks: Mapping[str, Mask] = field(default_factory=dict)
    """the recommended mask of each module"""
    over_none: Optional[StoredGain] = None
    over_all: Optional[StoredGain] = None
    trainings_to_halve: Optional[int] = None
    """further judgements that would halve the intervals"""

    @classmethod
    def read(cls, facts: Any, source: str = 'the mask file') -> 'StoredEffects':
        """Read the entry of a mask file.

        Args:
            facts: What the JSON holds under ``effects``.
            source: What to call the file in an error.

        Raises:
            ValueError: It is not what a search writes.
        """
        try:
            return _read(facts)
        except _Unreadable as error:
            raise EANError(
                f'the effects in {one_line(source)} cannot be read: {error}; its '
                'search has to write them again'
            ) from error

    @property
    def stage_blocks(self) -> Dict[str, Tuple[int, ...]]:
        """For each module the number of blocks in each stage."""
        return _stage_blocks(self.blocks)

    def verdict(self, block: StoredBlock) -> int:
        """Return 1 where attention helps, -1 where it hurts, 0 if unknown."""
        if not self.tells_apart:
            return 0
        return (block.low > 0) - (block.high < 0)

    def plugged(self) -> List[Optional[bool]]:
        """Whether the recommended mask has each block's bit set; None if unknown."""
        if not self.masks:
            return [None] * len(self.blocks)
        return [bool(bit) for mask in self.masks.values() for bit in mask.bits]


class _Unreadable(Exception):
    """Says what is wrong with an entry."""


def _read(facts: Any) -> StoredEffects:
    facts = _dict(facts, 'the entry')
    blocks = [
        StoredBlock(_place(tuple(map(entry.get, ('module', 'stage', 'block')))),
                    *_interval(entry, 'effect'))
        for entry in _dicts(facts.get('blocks'), 'blocks', MAX_BLOCKS)
    ]  # fmt: skip
    if not blocks:
        raise _Unreadable("'blocks' is empty")
    stage_blocks = _stage_blocks(blocks)
    pairs = [
        StoredPair(_places(entry.get('blocks')), *_interval(entry, 'effect'))
        for entry in _dicts(facts.get('pairs') or [], 'pairs', MAX_PAIRS)
    ]
    known = {block.place for block in blocks}
    if not all(known.issuperset(pair.places) for pair in pairs):
        raise _Unreadable("'pairs' names blocks that are not in 'blocks'")
    measure = facts.get('measure') or 'metric'
    if measure not in MEASURES:
        raise _Unreadable(f"'measure' is none of {', '.join(MEASURES)}")
    metric = facts.get('metric') or 'metric'
    if not _is_name(metric):
        raise _Unreadable("'metric' is no name")
    apart = facts.get('tells_apart')
    if apart is None:
        apart = any(block.low > 0 or block.high < 0 for block in blocks)
    if not isinstance(apart, bool):
        raise _Unreadable("'tells_apart' is neither true nor false")
    recommended = _dict(facts.get('recommended') or {}, "'recommended'")
    return StoredEffects(
        blocks=blocks,
        tells_apart=apart,
        metric=metric,
        measure=measure,
        budget=_count(facts, 'budget'),
        judgements=_count(facts, 'judgements'),
        noise=_optional(facts, 'noise', 0, MAX_POINTS),
        explained=_optional(facts, 'explained', -MAX_POINTS, 1),
        pairs=pairs,
        masks=_masks(recommended.get('mask'), stage_blocks),
        over_none=_gain(recommended, 'over_none'),
        over_all=_gain(recommended, 'over_all'),
        trainings_to_halve=_count(facts, 'trainings_to_halve'),
    )


def _stage_blocks(blocks: Sequence[StoredBlock]) -> Dict[str, Tuple[int, ...]]:
    """Return the blocks of each stage, whose numbers have to count without a gap."""
    counts: Dict[str, List[int]] = {}
    last = ''
    for module, stage, number in (block.place for block in blocks):
        if module != last and module in counts:
            raise _Unreadable(f"'blocks' names {module} in two places")
        last = module
        stages = counts.setdefault(module, [])
        if number == 1:
            stages.append(0)
        if not stages or (stage, number) != (len(stages), stages[-1] + 1):
            raise _Unreadable("'blocks' is not in the order of the network")
        stages[-1] = number
    return {module: tuple(stages) for module, stages in counts.items()}


def _masks(texts: Any, stage_blocks: Mapping[str, Tuple[int, ...]]) -> Dict[str, Mask]:
    if texts is None:
        return {}
    if set(_dict(texts, "the recommended 'mask'")) != set(stage_blocks):
        raise _Unreadable("the recommended 'mask' is of other modules")
    masks = {}
    for name, blocks in stage_blocks.items():
        text = texts[name]
        if not isinstance(text, str) or not text or set(text) - set('01-'):
            raise _Unreadable("the recommended 'mask' is not bits")
        try:
            masks[name] = Mask.parse(text, blocks)
        except EANError as error:
            raise _Unreadable("the recommended 'mask' does not fit 'blocks'") from error
    return masks


def _gain(recommended: Dict[str, Any], key: str) -> Optional[StoredGain]:
    if recommended.get(key) is None:
        return None
    facts = _dict(recommended[key], f"'{key}'")
    return StoredGain(*_interval(facts, 'gain'), _optional(facts, 'probability', 0, 1))


def _interval(facts: Dict[str, Any], key: str) -> Tuple[float, float, float]:
    """Read a number of points and the ends of its interval."""
    names = (key, 'low', 'high')
    read = [_optional(facts, name, -MAX_POINTS, MAX_POINTS) for name in names]
    points, low, high = (math.nan if each is None else each for each in read)
    if not low <= points <= high:
        raise _Unreadable(f"'{key}' is not between its 'low' and 'high'")
    return points, low, high


def _optional(
    facts: Dict[str, Any], key: str, low: float, high: float
) -> Optional[float]:
    value = facts.get(key)
    if value is None:
        return None
    if not _is_number(value, (int, float)) or not low <= value <= high:
        raise _Unreadable(f"'{key}' is no number from {low:,} to {high:,}")
    return float(value)


def _count(facts: Dict[str, Any], key: str) -> Optional[int]:
    value = facts.get(key)
    if value is None:
        return None
    if not _is_number(value, int) or not 0 < value <= MAX_NUMBER:
        raise _Unreadable(f"'{key}' is no whole number from 1 to {MAX_NUMBER:,}")
    return int(value)


def _is_number(value: Any, kinds: Any) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()


def _places(value: Any) -> Tuple[Place, Place]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise _Unreadable("'pairs' has an entry that is not of two blocks")
    return _place(value[0]), _place(value[1])


def _place(value: Any) -> Place:
    if isinstance(value, (list, tuple)) and len(value) == 3:
        module, *numbers = value
        if _is_name(module) and all(_is_number(number, int) for number in numbers):
            return module, numbers[0], numbers[1]
    raise _Unreadable('a block is not named by module, stage and block')


def _dict(value: Any, name: str) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise _Unreadable(f'{name} is no dict')
    return value


def _dicts(value: Any, key: str, limit: int) -> List[Dict[str, Any]]:
    if not isinstance(value, (list, tuple)) or len(value) > limit:
        raise _Unreadable(f"'{key}' is no list of at most {limit:,} entries")
    return [_dict(entry, f"an entry of '{key}'") for entry in value]
