"""The order in which a bench trains its masks, so that a part of it tells much."""

import itertools
from typing import Any, List, NamedTuple

import numpy as np

from ean_mm.mask import Mask

STAGE_BLOCKS = (3, 3, 3)
REPEATED = 64
"""masks that are trained with every seed"""
SEEDS = (0, 1, 2)
PARTS = 8
"""parts of the masks, after each of which come some of the further seeds"""

# Rows of a parity-check matrix. The masks whose products with all rows are even are a
# linear code, and 31 cosets of it hold the others. No sum of rows has fewer than four
# ones, so that in each coset any three blocks have all eight settings equally often: a
# 2^(9-4) fractional factorial design of resolution IV (Box, Hunter and Hunter,
# Statistics for Experimenters). Without the last row that holds for the couples of
# cosets, and so on: by the first two alone for any five blocks in 128 masks.
CHECKS = np.array(
    [
        [1, 1, 1, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 1, 1, 1, 1],
        [1, 1, 0, 1, 1, 0, 1, 1, 0],
        [0, 1, 1, 0, 1, 1, 0, 1, 1],
    ]
)


class Job(NamedTuple):
    """A training of a bench."""

    mask: str
    seed: int


def ordered_masks() -> List[str]:
    """Return all masks of nine blocks in the order of the bench.

    No block and all blocks come first. Each mask is followed by its opposite, so that
    after any couple each block is in half of the masks. After 32 masks, and each
    further 32, this holds for any three blocks, see :data:`CHECKS`. Otherwise the order
    is random, and always the same.
    """
    length = sum(STAGE_BLOCKS)
    rng = np.random.default_rng(0)
    ranks = rng.permutation(2 ** (length - 1))  # one a couple

    def place(bits: Any) -> Any:
        opposite = bits[0]  # of a couple, the one that has the first block
        couple = np.bitwise_xor(bits, opposite)
        extreme = 0 < sum(couple)
        checks = (CHECKS @ bits % 2).tolist()
        return checks, extreme, ranks[int(''.join(map(str, couple)), 2)], opposite

    masks = [np.array(bits) for bits in itertools.product((0, 1), repeat=length)]
    return [
        str(Mask(tuple(bits.tolist()), STAGE_BLOCKS))
        for bits in sorted(masks, key=place)
    ]


def ordered_jobs(num_masks: int = 512) -> List[List[Job]]:
    """Return the trainings of a bench in their order, in eight parts.

    Each part has an eighth of the masks, with the first seed, and then the further
    seeds of eight of the first 64 masks.

    Args:
        num_masks: How many of the masks to train, from the first on.
    """
    masks = ordered_masks()
    kept = set(masks[:num_masks])
    size, repeated = len(masks) // PARTS, REPEATED // PARTS
    parts = []
    for part in range(PARTS):
        own = masks[part * size : (part + 1) * size]
        again = masks[part * repeated : (part + 1) * repeated]
        jobs = [Job(mask, SEEDS[0]) for mask in own]
        jobs += [Job(mask, seed) for mask in again for seed in SEEDS[1:]]
        parts.append([job for job in jobs if job.mask in kept])
    return parts


def pilot_jobs(num_masks: int = 6) -> List[List[Job]]:
    """Return trainings with every seed, of the first masks: some of the bench's.

    Args:
        num_masks: How many masks.
    """
    masks = ordered_masks()[:num_masks]
    return [[Job(mask, seed) for mask in masks] for seed in SEEDS]
