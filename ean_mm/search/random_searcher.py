"""Random masks, which every other searcher has to beat."""

from typing import Any, Dict, List, Set

import torch
from mmengine.registry import TASK_UTILS

from ean_mm.search.base import BaseSearcher
from ean_mm.search.space import Bits


@TASK_UTILS.register_module()
class RandomSearcher(BaseSearcher):
    """Uniform random masks, distinct ones as long as there are any left.

    Args:
        num_bits: Number L of bits in a mask.
        seed: Seed of the draws.
        num_steps: Steps of the search.
        masks_per_step: Masks drawn in a step.
    """

    def __init__(
        self,
        num_bits: int,
        *,
        seed: int = 0,
        num_steps: int = 300,
        masks_per_step: int = 3,
    ) -> None:
        super().__init__(
            num_bits, seed=seed, num_steps=num_steps, masks_per_step=masks_per_step
        )
        self._generator = torch.Generator().manual_seed(seed)
        self._drawn: Set[Bits] = set()

    def ask(self) -> List[Bits]:
        """Draw the masks of the next step."""
        return [self._draw() for _ in range(self.masks_per_step)]

    def _draw(self) -> Bits:
        while True:
            bits = torch.randint(2, (self.num_bits,), generator=self._generator)
            mask = tuple(bits.tolist())
            if mask not in self._drawn or len(self._drawn) == 2**self.num_bits:
                self._drawn.add(mask)
                return mask

    def state_dict(self) -> Dict[str, Any]:
        """Return all that the next :meth:`ask` depends on, as tensors and numbers."""
        drawn = torch.tensor(sorted(self._drawn), dtype=torch.uint8)
        return dict(
            super().state_dict(),
            drawn=drawn.view(-1, self.num_bits),
            rng_state=self._generator.get_state(),
        )

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        super().load_state_dict(state)
        self._drawn = {tuple(mask) for mask in state['drawn'].tolist()}
        self._generator.set_state(state['rng_state'])
