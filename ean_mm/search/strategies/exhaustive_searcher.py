"""Every mask once, for networks of few blocks."""

from itertools import islice, product
from typing import List

from mmengine.registry import TASK_UTILS

from ean_mm.errors import EANError
from ean_mm.search.space import Bits
from ean_mm.search.strategies.base import BaseSearcher

MAX_BITS = 16


@TASK_UTILS.register_module()
class ExhaustiveSearcher(BaseSearcher):
    """Every mask once, in counting order, the first bit being the highest.

    In this order the masks of a step differ in their last blocks only, so that an
    evaluator may share the work of the first ones.

    Args:
        num_bits: Number L of bits in a mask, at most 16.
        seed: Not used: nothing is drawn.
        masks_per_step: Masks of a step; the last step may have fewer.

    Raises:
        ValueError: More than 16 bits.
    """

    def __init__(
        self, num_bits: int, *, seed: int = 0, masks_per_step: int = 64
    ) -> None:
        if num_bits > MAX_BITS:
            raise EANError(
                f'{num_bits} bits have 2^{num_bits} masks, too many to try them all '
                f"(at most {MAX_BITS} bits); use searcher=dict(type='RLController')"
            )
        super().__init__(
            num_bits, seed=seed, num_steps=1, masks_per_step=masks_per_step
        )
        self.num_steps = -(-(2**num_bits) // masks_per_step)

    def ask(self) -> List[Bits]:
        """Return the masks of the next step."""
        start = self.step * self.masks_per_step
        masks = product((0, 1), repeat=self.num_bits)
        return list(islice(masks, start, start + self.masks_per_step))
