"""The masks to begin with."""

from typing import Any, List

import numpy as np

from ean_mm.search.space import Bits

RESTARTS = 4
BALANCE = 3
"""how much more balanced blocks count than balanced pairs"""


def balanced_design(
    num_masks: int, num_bits: int, rng: np.random.Generator, *, extremes: bool = True
) -> List[Bits]:
    """Choose masks that tell blocks apart.

    Each block is in half of the masks, and each pair of blocks in as nearly equally
    many with both, with either and with none of them as there are masks for. Bits of
    random masks are flipped as long as that improves the balance: a search for a
    supersaturated or orthogonal array, by the fourth powers of the products of columns
    of spins, as one pair confused a lot is worse than many a little.

    Args:
        num_masks: Number of masks.
        num_bits: Number L of bits in a mask.
        rng: Random numbers.
        extremes: Whether the first two are no block and all blocks.

    Returns:
        Distinct masks, as long as there are any.
    """
    num_masks = min(num_masks, 2**num_bits)
    designs = [_improved(num_masks, num_bits, rng, extremes) for _ in range(RESTARTS)]
    masks: List[Bits] = []
    for spins in min(designs, key=_confusion)[:, :-1]:
        bits = tuple(((spins + 1) // 2).tolist())
        while bits in masks:
            bits = tuple(rng.integers(2, size=num_bits).tolist())
        masks.append(bits)
    return masks


def _confusion(spins: Any) -> float:
    return float((np.triu(spins.T @ spins, 1) ** 4).sum())


def _improved(
    num_masks: int, num_bits: int, rng: np.random.Generator, extremes: bool
) -> Any:
    """Return spins (N, L + 1) that no flip improves, the last column being constant.

    The product with the constant column is the balance of a block.
    """
    random = 2 * rng.integers(2, size=(num_masks, num_bits)) - 1
    spins = np.hstack([random, np.full((num_masks, 1), BALANCE)])
    fixed = min(2, num_masks) if extremes else 0
    spins[:fixed, :num_bits] = np.array([[-1], [1]])[:fixed]
    improved = True
    while improved:
        improved = False
        for row in rng.permutation(np.arange(fixed, num_masks)):
            for bit in rng.permutation(num_bits):
                # flipping s changes the product with another column by -2 s s'
                products = spins[:, bit] @ spins
                changed = products - 2 * spins[row, bit] * spins[row]
                change = changed**4 - products**4
                if change.sum() - change[bit] < 0:
                    spins[row, bit] *= -1
                    improved = True
    return spins
