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

    The search loop owns it and hands it to its strategy, as ``strategy.history``. A
    strategy that is used alone has one of its own.
    """

    def __init__(self) -> None:
        self.judgements: Dict[Request, Judgement] = {}
        self.told: Dict[Bits, float] = {}
        """the masks told so far, in their order, with the reward last told of each"""
        self.num_draws = 0
        """masks told, repeated ones among them"""
        self._ones: List[int] = []

    def add(self, judgement: Judgement, asked: Optional[int] = None) -> None:
        """Take in a judgement.

        Args:
            judgement: The judgement.
            asked: The budget that was asked for, where the training was stopped before.
        """
        budget = judgement.budget if asked is None else asked
        self.judgements[Request(judgement.bits, budget)] = judgement

    def tell(self, masks: Sequence[Bits], rewards: Sequence[float]) -> None:
        """Note that a strategy was told the rewards of masks."""
        for mask, reward in zip(masks, rewards):
            bits = tuple(mask)
            self.told[bits] = float(reward)
            self._ones = [
                count + bit for count, bit in zip(self._ones or [0] * len(bits), bits)
            ]
        self.num_draws += len(masks)

    def best_told(self) -> Optional[Bits]:
        """Return the mask with the best reward told; of equal ones the first."""
        return max(self.told, key=self.told.__getitem__, default=None)

    def share_of_ones(self) -> Optional[List[float]]:
        """Return the share of the masks told that plug each block in."""
        if not self.num_draws:
            return None
        return [count / self.num_draws for count in self._ones]

    def full_budget(self) -> Optional[int]:
        """Return the largest budget of any judgement."""
        budgets = [j.budget for j in self if j.budget is not None]
        return max(budgets, default=None)

    def __iter__(self) -> Iterator[Judgement]:
        return iter(self.judgements.values())

    def __len__(self) -> int:
        return len(self.judgements)

    def state_dict(self) -> Dict[str, Any]:
        """Return what was told, as tensors and numbers; judgements are the loop's."""
        return dict(
            masks=torch.tensor(list(self.told), dtype=torch.uint8),
            rewards=list(self.told.values()),
            ones=self._ones,
            num_draws=self.num_draws,
        )

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        masks = map(tuple, state['masks'].tolist())
        self.told = dict(zip(masks, state['rewards']))
        self._ones = list(state['ones'])
        self.num_draws = state['num_draws']
