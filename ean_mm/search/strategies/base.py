"""What all strategies have in common: a strategy says which masks to judge next."""

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ean_mm.errors import EANError
from ean_mm.search.history import History, Request
from ean_mm.search.space import Bits

Masks = Sequence[Bits]
Values = Sequence[float]
"""of masks, one each"""


class BaseSearcher:
    """Asks for masks and is told their rewards; a subclass decides what to ask for.

    What it was told is in :attr:`history`, and all that was judged, where a search loop
    asks. It can be used alone, too:

        masks = searcher.ask()
        searcher.tell(masks, [reward(mask) for mask in masks])

    Args:
        num_bits: Number L of bits in a mask.
        seed: Seed of every draw.
        num_steps: Steps of the search.
        masks_per_step: Masks that are asked for in a step.

    Raises:
        ValueError: A number that is not above 0.
    """

    num_steps: int
    """steps of the search"""
    recommends = False
    """whether :meth:`mode` weighs the measurements, so that a search ends with it"""

    def __init__(
        self, num_bits: int, *, seed: int, num_steps: int, masks_per_step: int
    ) -> None:
        self.num_bits = num_bits
        self.seed = seed
        self.num_steps = num_steps
        self.masks_per_step = masks_per_step
        for name in ('num_steps', 'masks_per_step'):
            if getattr(self, name) < 1:
                raise EANError(f'{name}={getattr(self, name)} must be above 0')
        self.step = 0
        self.history = History()

    def prepare(self, budgets: Tuple[int, ...]) -> None:
        """Learn the iterations that a mask may be trained for, ascending.

        There are none where nothing is trained. Called before the first :meth:`ask`.
        """

    def join(self, fingerprint: Mapping[str, str]) -> None:
        """Learn what rewards depend on, before the first :meth:`ask`.

        A strategy that shares its search with other processes compares it with theirs.
        """

    def ask(self) -> List[Any]:
        """Return the masks of the next step: bits, or a :class:`Request` each."""
        raise NotImplementedError

    def tell(
        self, masks: Masks, rewards: Values, metrics: Optional[Values] = None
    ) -> Dict[str, float]:
        """Take in the rewards of the masks that :meth:`ask` returned.

        Args:
            masks: The masks.
            rewards: Their rewards.
            metrics: The metric of each, in percent.

        Returns:
            What a step's record should hold beside the rewards, as a loss.
        """
        self.history.tell(masks, rewards)
        self.step += 1
        return {}

    def mode(self) -> Bits:
        """Return the mask to recommend; here the best so far, before any the empty."""
        return self.history.best_told() or (0,) * self.num_bits

    def probabilities(self) -> List[float]:
        """Return the share of ones of each bit among the masks so far.

        There is no policy: this is what was drawn, not what will be. Before any mask
        it is 0.5.
        """
        return self.history.share_of_ones() or [0.5] * self.num_bits

    def describe(self) -> Dict[str, Any]:
        """Return the settings."""
        return dict(num_steps=self.num_steps, masks_per_step=self.masks_per_step)

    def state_dict(self) -> Dict[str, Any]:
        """Return all that the next :meth:`ask` depends on, as tensors and numbers."""
        return dict(seed=self.seed, step=self.step, history=self.history.state_dict())

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        self.seed = state['seed']
        self.step = state['step']
        self.history.load_state_dict(state['history'])


def bits_of(asked: Any) -> Bits:
    """Return the mask of what a strategy asked for."""
    return asked.bits if isinstance(asked, Request) else tuple(asked)
