"""The masks of a search, as its history tells them."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

MAX_CURVE = 10_000
MAX_BUDGET = 10**12


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


def check_entry(entry: Dict[str, Any]) -> None:
    """Check the numbers in what a history says of a mask.

    Raises:
        ValueError: One is not what it should be. Other errors come of damaged entries.
    """
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


def count_masks(
    records: Sequence[Dict[str, Any]], modules: Sequence[str]
) -> List[DrawnMask]:
    """Return the distinct masks in the order in which they were drawn.

    What was judged at several budgets is told of the largest one.
    """
    first: Dict[Tuple[str, ...], int] = {}
    known: Dict[Tuple[str, ...], Dict[str, Any]] = {}
    times: Counter = Counter()
    for record in records:
        for entry in record['masks']:
            key = tuple(entry['mask'][name] for name in modules)
            first.setdefault(key, record['step'])
            before = known.setdefault(key, entry)
            if (entry.get('budget') or 0) > (before.get('budget') or 0):
                known[key] = entry
            times[key] += 1
    drawn = []
    for key, entry in known.items():
        bits = ''.join(key).replace('-', '')
        drawn.append(
            DrawnMask(
                masks=dict(zip(modules, key)),
                reward=entry['reward'],
                metric=entry['metric'],
                num_connections=bits.count('1'),
                sparsity=bits.count('0') / len(bits),
                cost=entry.get('cost'),
                first_step=first[key],
                times_drawn=times[key],
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
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return ()
        if not -1e9 < value < 1e9:
            return ()
    return tuple(map(float, values))
