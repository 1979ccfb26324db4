"""Functions of masks, drawn from a kernel."""

from functools import lru_cache
from typing import Any, Callable

import numpy as np

from ean_mm.search.surrogate.kernel import MaskKernel

MAX_BITS = 16
"""up to so many bits, functions are known at all masks"""
FEATURES = 256


def spins_of(masks: Any) -> Any:
    """Return masks (N, L) of 0 and 1 as spins, -1 and 1."""
    return 2.0 * np.asarray(masks) - 1


@lru_cache(maxsize=2)
def all_masks(num_bits: int) -> Any:
    """Return every mask (2^L, L) in counting order, the first bit being the highest."""
    numbers = np.arange(2**num_bits)
    masks = (numbers[:, None] >> np.arange(num_bits)[::-1] & 1).astype(np.int8)
    masks.setflags(write=False)
    return masks


def prior_draw(
    kernel: MaskKernel, num_bits: int, rng: np.random.Generator
) -> Callable[[Any], Any]:
    """Draw a function of masks (N, L) from a kernel without its noise.

    Up to 16 bits it is drawn exactly, all masks at once. Above, single blocks and pairs
    are, and the rest is a sum of random waves (Rahimi and Recht, Random Features for
    Large-Scale Kernel Machines, 2007).
    """
    if num_bits <= MAX_BITS:
        return _exact_draw(kernel, num_bits, rng)
    return _wave_draw(kernel, num_bits, rng)


def _exact_draw(
    kernel: MaskKernel, num_bits: int, rng: np.random.Generator
) -> Callable[[Any], Any]:
    masks = all_masks(num_bits)
    variances = kernel.walsh(num_bits)[masks.sum(axis=1)]  # of the set of each mask
    values = np.sqrt(variances) * rng.standard_normal(len(masks))
    for bit in range(num_bits):  # the fast Walsh-Hadamard transform
        halves = values.reshape(-1, 2, 2**bit)
        absent, present = halves[:, 0], halves[:, 1]
        values = np.stack([absent - present, absent + present], axis=1).reshape(-1)
    places = 2 ** np.arange(num_bits)[::-1]
    return lambda masks: values[np.asarray(masks, dtype=int) @ places]


def _wave_draw(
    kernel: MaskKernel, num_bits: int, rng: np.random.Generator
) -> Callable[[Any], Any]:
    level = np.sqrt(kernel.constant) * rng.standard_normal()
    field = np.sqrt(kernel.singles / num_bits) * rng.standard_normal(num_bits)
    num_pairs = num_bits * (num_bits - 1) / 2
    coupling = np.triu(rng.standard_normal((num_bits, num_bits)), 1)
    coupling *= np.sqrt(kernel.pairs / num_pairs)
    # exp(-d / length) of spins whose squared distance is 4 d
    waves = rng.standard_normal((num_bits, FEATURES)) / np.sqrt(2 * kernel.length)
    phases = rng.uniform(0, 2 * np.pi, FEATURES)
    height = np.sqrt(2 * kernel.rest / FEATURES)

    def function(masks: Any) -> Any:
        spins = spins_of(masks)
        pairs = ((spins @ coupling) * spins).sum(axis=1)
        rest = height * np.cos(spins @ waves + phases).sum(axis=1)
        return level + spins @ field + pairs + rest

    return function
