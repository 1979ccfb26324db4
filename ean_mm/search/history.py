"""What a search knows: which masks were judged, how, and at what budget."""

from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import torch

from ean_mm.search.space import Bits


class Request(NamedTuple):
    """A mask that a strategy wants judged, and how thoroughly.

    Attributes:
        bits: The mask.
        budget: Iterations to train it for; None for all that the evaluation gives,
            and where nothing is trained.
    """

    bits: Bits
    budget: Optional[int] = None


@dataclass(frozen=True)
class Judgement:
    """What is known of one mask at one budget."""

    bits: Bits
    metric: float
    """the metric, in percent"""
    sparsity: float
    """fraction of blocks without attention"""
    cost: Optional[float]
    """what attention adds to the plain network, in percent; None if no cost counts"""
    reward: float
    budget: Optional[int] = None
    """iterations that it was trained for; None for the weights of a supernet"""
    loss: Optional[float] = None
    """mean loss on the reward images"""
    train_loss: Optional[float] = None
    """mean of the training losses over the last part of the training"""
    curve: Tuple[float, ...] = field(default=(), repr=False)
    """mean training loss over equal parts of the training so far"""
    diverged: bool = False
    """whether the training ended in a loss that is not finite"""
    unreported: bool = False
    """whether the evaluator had nothing to say of the metric, which counts as 0"""


class History:
    """The judgements of a search, and the order in which strategies were told them.

    Every strategy has one, ``strategy.history``; the search loop adds the judgements.
    """

    def __init__(self) -> None:
        self.judgements: Dict[Request, Judgement] = {}
        self.draws: List[Tuple[Bits, float]] = []
        """the masks told so far, in their order, with their rewards"""

    @property
    def told(self) -> Dict[Bits, float]:
        """The masks told so far, each once, with the reward last told of it."""
        return dict(self.draws)

    def tell(self, masks: Sequence[Bits], rewards: Sequence[float]) -> None:
        """Note that a strategy was told the rewards of masks."""
        self.draws += zip(map(tuple, masks), map(float, rewards))

    def best_told(self) -> Optional[Bits]:
        """Return the mask with the best reward told; of equal ones the first."""
        told = self.told
        return max(told, key=told.__getitem__, default=None)

    def share_of_ones(self) -> Optional[List[float]]:
        """Return the share of the masks told that plug each block in."""
        places = zip(*(bits for bits, _ in self.draws))
        return [sum(bits) / len(self.draws) for bits in places] or None

    def __iter__(self) -> Iterator[Judgement]:
        return iter(self.judgements.values())

    def __len__(self) -> int:
        return len(self.judgements)

    def state_dict(self) -> Dict[str, Any]:
        """Return what was told, as tensors and numbers; judgements are the loop's."""
        return dict(
            masks=torch.tensor([bits for bits, _ in self.draws], dtype=torch.uint8),
            rewards=[reward for _, reward in self.draws],
        )

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        self.draws = list(zip(map(tuple, state['masks'].tolist()), state['rewards']))
