"""What all strategies have in common: a strategy says which masks to judge next."""

from typing import Any, Dict, List, Mapping, Optional, Protocol, Sequence, Tuple

from ean_mm.errors import EANError
from ean_mm.search.history import History, Request
from ean_mm.search.space import Bits


class Searcher(Protocol):
    """What the loop needs of a strategy; see ``BaseSearcher``, which hands it on."""

    num_steps: int
    step: int
    seed: int

    def ask(self) -> List[Any]: ...

    def tell(
        self,
        masks: Sequence[Bits],
        rewards: Sequence[float],
        metrics: Optional[Sequence[float]] = None,
    ) -> Dict[str, float]: ...

    def mode(self) -> Bits: ...

    def describe(self) -> Dict[str, Any]: ...

    def probabilities(self) -> List[float]: ...

    def state_dict(self) -> Dict[str, Any]: ...

    def load_state_dict(self, state: Dict[str, Any]) -> None: ...


class BaseSearcher:
    """Asks for masks and is told their rewards; a subclass decides what to ask for.

    What was judged is in :attr:`history`, which the search loop hands to it. Used
    alone, a searcher has a history of its own:

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
        self.history = History()

    def prepare(self, budgets: Tuple[int, ...], noise: Optional[float] = None) -> None:
        """Learn how masks are judged, before the first :meth:`ask`.

        Args:
            budgets: Iterations that a mask may be trained for, in ascending order;
                none where nothing is trained.
            noise: Standard deviation of a reward, where it is known.
        """

    def join(self, fingerprint: Mapping[str, str]) -> None:
        """Learn what rewards depend on, before the first :meth:`ask`.

        A strategy that shares its search with other processes compares it with theirs.
        """

    def ask(self) -> List[Any]:
        """Return the masks of the next step: bits, or a :class:`Request` each."""
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
