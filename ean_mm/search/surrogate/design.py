"""The masks to begin with."""

from typing import List

import numpy as np

from ean_mm.search.space import Bits


def balanced_design(
    num_masks: int, num_bits: int, rng: np.random.Generator, *, extremes: bool = True
) -> List[Bits]:
    """Choose masks that tell blocks, and nearly all pairs of blocks, apart.

    Each mask is followed by its opposite. So every block is in half of the masks, and
    no pair of blocks can be taken for the effect of a single one (a folded-over
    design). In the first half of each couple, bits are flipped as long as that makes
    the two states of two blocks more independent of each other.

    Args:
        num_masks: Number of masks.
        num_bits: Number L of bits in a mask.
        rng: Random numbers.
        extremes: Whether the first couple is no block and all blocks.

    Returns:
        Distinct masks, as long as there are any.
    """
    num_masks = min(num_masks, 2**num_bits)
    couples = -(-num_masks // 2)
    best = min(
        (_couples(couples, num_bits, rng, extremes) for _ in range(8)), key=_confusion
    )
    masks: List[Bits] = []
    for spins in best:
        bits = tuple(((spins + 1) // 2).tolist())
        while bits in masks:
            bits = tuple(rng.integers(2, size=num_bits).tolist())
        masks += [bits, tuple(1 - bit for bit in bits)]
    return masks[:num_masks]


def _confusion(spins: np.ndarray) -> float:
    """Sum over pairs of blocks of their products' fourth powers.

    A high power, as one pair confused a lot is worse than many a little.
    """
    return float((np.triu(spins.T @ spins, 1) ** 4).sum())


def _couples(
    num_rows: int, num_bits: int, rng: np.random.Generator, extremes: bool
) -> np.ndarray:
    spins = 2 * rng.integers(2, size=(num_rows, num_bits)) - 1
    if extremes:
        spins[0] = -1
    improved = True
    while improved:
        improved = False
        for row in rng.permutation(np.arange(int(extremes), num_rows)):
            for bit in rng.permutation(num_bits):
                # flipping s changes the product p with another column by -2 s s'
                others = np.delete(np.arange(num_bits), bit)
                products = spins[:, bit] @ spins[:, others]
                change = -2 * spins[row, bit] * spins[row, others]
                if ((products + change) ** 4 - products**4).sum() < 0:
                    spins[row, bit] *= -1
                    improved = True
    return spins
