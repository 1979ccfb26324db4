"""The masks of a search, as its history tells them."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ean_mm.errors import EANError

BIT_STRING = re.compile(r'[01]+(-[01]+)*')
MAX_CURVE = 10_000
MAX_BUDGET = 10**12

Record = Dict[str, Any]
"""a step of the search, a line of its history"""


@dataclass(frozen=True)
class DrawnMask:
    """A mask of the search, how it was judged, and how often it was drawn."""

    masks: Dict[str, str]
    """bits of each module, as ``'10-01'``"""
    reward: float
    metric: float
    """the metric, in percent"""
    num_connections: int
    sparsity: float
    """fraction of blocks without attention"""
    cost: Optional[float]
    """what attention adds to the plain network, in percent, if the reward counts it"""
    first_step: int
    times_drawn: int
    budget: Optional[int] = None
    """iterations that it was trained for; None for the weights of a supernet"""
    curve: Tuple[float, ...] = ()
    """mean training loss over equal parts of the training"""
    diverged: bool = False
    """whether the training ended in a loss that is not finite"""


def check_history(records: Sequence[Record], path: Path) -> Dict[str, Tuple[int, ...]]:
    """Check that records are of one search.

    Args:
        records: The history.
        path: Where it was read, for errors.

    Returns:
        For each module the number of blocks in each stage.

    Raises:
        ValueError: They are not, or what they say is not what a search writes.
    """
    stage_blocks: Dict[str, Tuple[int, ...]] = {}
    last_step, trained = -1, None
    for number, record in enumerate(records, 1):
        try:
            step, entries = record['step'], record['masks']
            if not isinstance(step, int) or step <= last_step or not entries:
                raise ValueError('its step is out of order or has no masks')
            last_step = step
            for entry in entries:
                _check_entry(entry)
                has_budget = entry.get('budget') is not None
                if trained not in (None, has_budget):
                    raise ValueError('only some of its masks have a budget')
                trained = has_budget
                blocks = {name: _blocks(bits) for name, bits in entry['mask'].items()}
                if not all(map(str.isprintable, blocks)):
                    raise ValueError('a module has no printable name')
                stage_blocks = stage_blocks or blocks
                if blocks != stage_blocks or not blocks:
                    raise ValueError('its masks are of another network')
        except KeyError as error:
            raise EANError(f'{path}, record {number} has no {error}') from error
        except (TypeError, AttributeError, ValueError, OverflowError) as error:
            reason = error if isinstance(error, ValueError) else 'it is damaged'
            raise EANError(
                f'{path}, record {number} is not of a mask search: {reason}'
            ) from error
    return stage_blocks


def _check_entry(entry: Dict[str, Any]) -> None:
    """Check the numbers in what a history says of a mask."""
    for key in ('metric', 'reward'):
        if not math.isfinite(entry[key]):
            raise ValueError(f'its {key} is not finite')
    if not math.isfinite(entry.get('cost', 0)):
        raise ValueError('its cost is not finite')
    budget = entry.get('budget')
    if budget is not None and (type(budget) is not int or not 0 < budget <= MAX_BUDGET):
        raise ValueError('its budget is no number of iterations')
    if not isinstance(entry.get('diverged', False), bool):
        raise ValueError("its 'diverged' is neither true nor false")


def _blocks(bits: str) -> Tuple[int, ...]:
    if not BIT_STRING.fullmatch(bits):
        raise ValueError('its mask is not bits')
    return tuple(map(len, bits.split('-')))


def count_masks(records: Sequence[Record], modules: Sequence[str]) -> List[DrawnMask]:
    """Return the distinct masks in the order in which they were drawn.

    What was judged at several budgets is told of the largest one.
    """
    draws: Dict[Tuple[str, ...], List[Tuple[int, Dict[str, Any]]]] = {}
    for record in records:
        for entry in record['masks']:
            key = tuple(entry['mask'][name] for name in modules)
            draws.setdefault(key, []).append((record['step'], entry))
    drawn = []
    for key, told in draws.items():
        _, entry = max(told, key=lambda draw: draw[1].get('budget') or 0)
        bits = ''.join(key).replace('-', '')
        drawn.append(
            DrawnMask(
                masks=dict(zip(modules, key)),
                reward=entry['reward'],
                metric=entry['metric'],
                num_connections=bits.count('1'),
                sparsity=bits.count('0') / len(bits),
                cost=entry.get('cost'),
                first_step=told[0][0],
                times_drawn=len(told),
                budget=entry.get('budget'),
                curve=_curve(entry.get('curve')),
                diverged=entry.get('diverged', False),
            )
        )
    return drawn


def _curve(values: Any) -> Tuple[float, ...]:
    """Return a learning curve; nothing if it cannot be drawn."""
    if not isinstance(values, list) or len(values) > MAX_CURVE:
        return ()
    if not all(type(each) in (int, float) and -1e9 < each < 1e9 for each in values):
        return ()
    return tuple(map(float, values))
