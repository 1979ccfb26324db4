"""Random masks, which every other searcher has to beat."""

from typing import Any, Dict, List, Set

import torch
from mmengine.registry import TASK_UTILS

from ean_mm.search.space import Bits
from ean_mm.search.strategies.base import BaseSearcher


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

    def ask(self) -> List[Bits]:
        """Draw the masks of the next step."""
        masks: List[Bits] = []
        for _ in range(self.masks_per_step):
            masks.append(self._draw({*self.history.told, *masks}))
        return masks

    def _draw(self, known: Set[Bits]) -> Bits:
        while True:
            bits = torch.randint(2, (self.num_bits,), generator=self._generator)
            mask = tuple(bits.tolist())
            if mask not in known or len(known) == 2**self.num_bits:
                return mask

    def state_dict(self) -> Dict[str, Any]:
        """Return all that the next :meth:`ask` depends on, as tensors and numbers."""
        return dict(super().state_dict(), rng_state=self._generator.get_state())

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        super().load_state_dict(state)
        self._generator.set_state(state['rng_state'])
