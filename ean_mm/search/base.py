"""What the searchers that learn no policy have in common."""

from typing import Any, Dict, List, Optional, Sequence

import torch

from ean_mm.errors import EANError
from ean_mm.search.space import Bits


class BaseSearcher:
    """Keeps the best mask and counts bits; a subclass decides what to ask for.

    Args:
        num_bits: Number L of bits in a mask.
        seed: Seed of every draw.
        num_steps: Steps of the search.
        masks_per_step: Masks that are asked for in a step.

    Raises:
        ValueError: A number that is not above 0.
    """

    def __init__(
        self, num_bits: int, *, seed: int, num_steps: int, masks_per_step: int
    ) -> None:
        for name, value in (
            ('num_steps', num_steps),
            ('masks_per_step', masks_per_step),
        ):
            if value < 1:
                raise EANError(f'{name}={value} must be above 0')
        self.num_bits = num_bits
        self.seed = seed
        self.num_steps = num_steps
        self.masks_per_step = masks_per_step
        self.step = 0
        self._best_mask: Bits = (0,) * num_bits
        self._best_reward: Optional[float] = None
        self._ones = [0] * num_bits
        self._num_told = 0

    def ask(self) -> List[Bits]:
        """Return the masks of the next step."""
        raise NotImplementedError

    def tell(
        self,
        masks: Sequence[Bits],
        rewards: Sequence[float],
        metrics: Optional[Sequence[float]] = None,
    ) -> Dict[str, float]:
        """Take in the rewards of the masks that :meth:`ask` returned.

        Args:
            masks: The masks.
            rewards: Their rewards.
            metrics: The metric of each, in percent.

        Returns:
            Nothing: there is no loss here.
        """
        for mask, reward in zip(masks, rewards):
            if self._best_reward is None or reward > self._best_reward:
                self._best_mask, self._best_reward = tuple(mask), float(reward)
            self._ones = [count + bit for count, bit in zip(self._ones, mask)]
        self._num_told += len(masks)
        self.step += 1
        return {}

    def mode(self) -> Bits:
        """Return the best mask so far; before any, the one without attention."""
        return self._best_mask

    def probabilities(self) -> List[float]:
        """Return the share of ones of each bit among the masks so far.

        There is no policy: this is what was drawn, not what will be. Before any mask
        it is 0.5.
        """
        if not self._num_told:
            return [0.5] * self.num_bits
        return [count / self._num_told for count in self._ones]

    def describe(self) -> Dict[str, Any]:
        """Return the settings."""
        return dict(num_steps=self.num_steps, masks_per_step=self.masks_per_step)

    def state_dict(self) -> Dict[str, Any]:
        """Return all that the next :meth:`ask` depends on, as tensors and numbers."""
        return dict(
            seed=self.seed,
            step=self.step,
            best_mask=torch.tensor(self._best_mask),
            best_reward=self._best_reward,
            ones=self._ones,
            num_told=self._num_told,
        )

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        self.seed = state['seed']
        self.step = state['step']
        self._best_mask = tuple(state['best_mask'].tolist())
        self._best_reward = state['best_reward']
        self._ones = list(state['ones'])
        self._num_told = state['num_told']
