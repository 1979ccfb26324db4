"""The masks at which a function is highest."""

from typing import AbstractSet, Any, Callable, Iterable, Optional

import numpy as np

from ean_mm.search.space import Bits
from ean_mm.search.surrogate.prior import MAX_BITS, all_masks

STARTS = 32


def best_mask(
    function: Callable[[Any], Any],
    num_bits: int,
    rng: np.random.Generator,
    *,
    known: AbstractSet[Bits] = frozenset(),
    starts: Iterable[Bits] = (),
) -> Optional[Bits]:
    """Find the mask with the highest value of all that are not known.

    Up to 16 bits all masks are looked at. Above, a search goes from random masks and
    those given to better neighbours: first by single bits, then the best ones by two.

    Args:
        function: Gives the values of masks (N, L).
        num_bits: Number L of bits in a mask.
        rng: Random numbers, used above 16 bits.
        known: Masks that are not asked for.
        starts: Masks to start from, above 16 bits.

    Returns:
        The mask, or None if all are known.
    """
    if num_bits <= MAX_BITS:
        masks = all_masks(num_bits)
        values = np.array(function(masks), dtype=float)
        if known:
            places = 2 ** np.arange(num_bits)[::-1]
            values[np.array(list(known)) @ places] = -np.inf
        best = int(values.argmax())
        return _bits(masks[best]) if np.isfinite(values[best]) else None
    return _climb(function, num_bits, rng, known, list(starts))


def _climb(
    function: Callable[[Any], Any],
    num_bits: int,
    rng: np.random.Generator,
    known: AbstractSet[Bits],
    starts: Any,
) -> Bits:
    masks: Any = rng.integers(2, size=(STARTS, num_bits))
    masks = np.vstack([np.array(starts, int).reshape(-1, num_bits), masks])
    ones = np.eye(num_bits, dtype=int)
    found = {}
    while len(masks):  # all at once, each to its best neighbour
        neighbours = masks[:, None] ^ ones  # (N, L, L)
        values = function(neighbours.reshape(-1, num_bits)).reshape(len(masks), -1)
        now = function(masks)
        up = values.max(axis=1) > now
        found.update({_bits(m): v for m, v in zip(masks[~up], now[~up])})
        places = values[up].argmax(axis=1)
        masks = np.unique(neighbours[up, places], axis=0)
    first, second = np.triu_indices(num_bits)
    flips = ones[first] | ones[second]
    best = max(found, key=found.__getitem__)
    while True:
        neighbours = np.array(best) ^ flips
        values = function(neighbours)
        if values.max() <= found[best]:
            break
        best = _bits(neighbours[values.argmax()])
        found[best] = values.max()
    nearby = map(_bits, neighbours[values.argsort()[::-1]])  # the best ones first
    for mask in (best, *nearby):
        if mask not in known:
            return mask
    while best in known:
        best = _bits(rng.integers(2, size=num_bits))
    return best


def _bits(mask: Any) -> Bits:
    return tuple(int(bit) for bit in mask)
