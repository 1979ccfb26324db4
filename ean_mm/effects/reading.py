"""Read what a mask file says that attention in each block brings, with distrust."""

import math
from itertools import islice
from typing import Any, Dict, List, Optional, Tuple

from ean_mm.effects.effects import (
    BlockEffect,
    Effects,
    Gain,
    PairEffect,
    Place,
    Recommendation,
    places,
)
from ean_mm.errors import EANError, one_line
from ean_mm.mask import Mask
from ean_mm.mask_parsing import MAX_BLOCKS, is_bits

MAX_PAIRS = 100
MAX_NAME = 80
MAX_COUNT = 10**9
MAX_POINTS = 10**6

MEASURES = ('metric', 'loss', 'train_loss')


def read_effects(facts: Any, source: str = 'the mask file') -> Effects:
    """Read the entry of a mask file that :meth:`Effects.to_dict` has made.

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


class _Unreadable(Exception):
    """Says what is wrong with an entry."""


def _read(facts: Any) -> Effects:
    facts = _dict(facts, 'the entry')
    blocks = [
        BlockEffect(
            *_place([entry.get(key) for key in ('module', 'stage', 'block')]),
            *_interval(entry, 'effect'),
        )
        for entry in _dicts(facts.get('blocks'), 'blocks', MAX_BLOCKS)
    ]
    if not blocks:
        raise _Unreadable("'blocks' is empty")
    pairs = [
        PairEffect(_places(entry.get('blocks')), *_interval(entry, 'effect'))
        for entry in _dicts(facts.get('pairs') or [], 'pairs', MAX_PAIRS)
    ]
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
    effects = Effects(
        metric=metric,
        measure=measure,
        budget=_count(facts, 'budget'),
        judgements=_count(facts, 'judgements'),
        noise=_number(facts, 'noise', 0, MAX_POINTS),
        explained=_number(facts, 'explained', -MAX_POINTS, 1),
        blocks=blocks,
        pairs=pairs,
        recommended=Recommendation(
            _dict(recommended.get('mask') or {}, "the recommended 'mask'"),
            over_none=_gain(recommended, 'over_none'),
            over_all=_gain(recommended, 'over_all'),
        ),
        trainings_to_halve=_count(facts, 'trainings_to_halve'),
        tells_apart=apart,
    )
    _require_agreement(effects)
    return effects


def _require_agreement(effects: Effects) -> None:
    """Refuse blocks, pairs and masks that are not of one network."""
    listed, stage_blocks = [b.place for b in effects.blocks], effects.stage_blocks
    if listed != [*islice(places(stage_blocks), len(listed) + 1)]:
        raise _Unreadable("'blocks' is not in the order of the network")
    if not all(set(listed).issuperset(pair.blocks) for pair in effects.pairs):
        raise _Unreadable("'pairs' names blocks that are not in 'blocks'")
    masks = effects.recommended.mask
    if masks and masks.keys() != stage_blocks.keys():
        raise _Unreadable("the recommended 'mask' is of other modules")
    for module, bits in masks.items():
        if not isinstance(bits, str) or not is_bits(bits):
            raise _Unreadable("the recommended 'mask' is not bits")
        try:
            Mask.parse(bits, stage_blocks[module])
        except EANError as error:
            raise _Unreadable("the recommended 'mask' does not fit 'blocks'") from error


def _gain(recommended: Dict[str, Any], key: str) -> Optional[Gain]:
    if recommended.get(key) is None:
        return None
    facts = _dict(recommended[key], f"'{key}'")
    return Gain(*_interval(facts, 'gain'), _number(facts, 'probability', 0, 1))


def _interval(facts: Dict[str, Any], key: str) -> Tuple[float, float, float]:
    """Read a number of points and the ends of its interval."""
    names = (key, 'low', 'high')
    read = [_number(facts, name, -MAX_POINTS, MAX_POINTS) for name in names]
    points, low, high = (math.nan if each is None else each for each in read)
    if not low <= points <= high:
        raise _Unreadable(f"'{key}' is not between its 'low' and 'high'")
    return points, low, high


def _number(
    facts: Dict[str, Any], key: str, low: float, high: float
) -> Optional[float]:
    value = facts.get(key)
    if value is None:
        return None
    if type(value) not in (int, float) or not low <= value <= high:
        raise _Unreadable(f"'{key}' is no number from {low:,} to {high:,}")
    return float(value)


def _count(facts: Dict[str, Any], key: str) -> Optional[int]:
    value = facts.get(key)
    if value is not None and (type(value) is not int or not 0 < value <= MAX_COUNT):
        raise _Unreadable(f"'{key}' is no whole number from 1 to {MAX_COUNT:,}")
    return value


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()


def _places(value: Any) -> Tuple[Place, Place]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise _Unreadable("'pairs' has an entry that is not of two blocks")
    return _place(value[0]), _place(value[1])


def _place(value: Any) -> Place:
    if isinstance(value, (list, tuple)) and len(value) == 3:
        module, stage, block = value
        if _is_name(module) and type(stage) is type(block) is int:
            return module, stage, block
    raise _Unreadable('a block is not named by module, stage and block')


def _dict(value: Any, name: str) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise _Unreadable(f'{name} is no dict')
    return value


def _dicts(value: Any, key: str, limit: int) -> List[Dict[str, Any]]:
    if not isinstance(value, list) or len(value) > limit:
        raise _Unreadable(f"'{key}' is no list of at most {limit:,} entries")
    return [_dict(entry, f"an entry of '{key}'") for entry in value]
