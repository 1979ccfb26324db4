"""What the loop needs of a way to judge masks, and what one is told of a mask."""

import copy
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from mmengine.evaluator import Evaluator
from torch import nn
from torch.utils.data import DataLoader

from ean_mm.models.masked import unwrapped
from ean_mm.search.evaluation.cost import CostTable, measure_cost
from ean_mm.search.evaluation.reward import Reward
from ean_mm.search.evaluation.runtime_latency import runtime_latency
from ean_mm.search.history import Request
from ean_mm.search.space import SearchSpace

MEASURES = ('metric', 'loss', 'train_loss')


@dataclass(frozen=True)
class Measurement:
    """What was measured of a mask at a budget."""

    metrics: Dict[str, float]
    """the metrics on the reward images, as the evaluator reports them"""
    percent: Optional[float] = None
    """the metric that counts, in percent, where it is known already"""
    loss: Optional[float] = None
    """mean loss on the reward images"""
    train_loss: Optional[float] = None
    """mean of the training losses over the last part of the training"""
    curve: Tuple[float, ...] = ()
    """mean training loss over equal parts of the training so far"""
    diverged: bool = False
    """whether the training ended in a loss that is not finite"""
    iterations: Optional[int] = None
    """iterations that it was trained for; None where nothing is trained"""
    unreported: bool = False
    """whether the evaluator had nothing to say of the metric, as where a detector
    detects nothing"""

    def score(self, percent: float, measure: str) -> float:
        """Return what the reward weighs: the metric, or a loss as points below 0.

        Args:
            percent: The metric, in percent.
            measure: ``'metric'``, ``'loss'`` or ``'train_loss'``.
        """
        if measure == 'metric':
            return percent
        loss = self.loss if measure == 'loss' else self.train_loss
        return DIVERGED_SCORE if loss is None else -100 * loss


DIVERGED_SCORE = -1000.0
"""score of a mask without a loss, as one whose training diverged: a loss of 10"""


class Evaluation:
    """A way to judge masks on the images of a reward set; a subclass says how.

    Args:
        model: The model, wrapped for distributed training or not.
        space: Its masks.
        dataloader: Loader of the reward set.
        evaluator: The metrics. Each mask gets a copy.
    """

    budgets: Tuple[int, ...] = ()
    """iterations that a mask may be trained for, in ascending order, the last one being
    the full budget; none where nothing is trained"""
    measure = 'metric'
    """what is rewarded: ``'metric'``, ``'loss'`` or ``'train_loss'``"""

    def __init__(
        self,
        model: nn.Module,
        space: SearchSpace,
        dataloader: DataLoader,
        evaluator: Evaluator,
    ) -> None:
        self.model: Any = unwrapped(model)
        self.space = space
        self.dataloader = dataloader
        self.dataset: Any = dataloader.dataset
        self.evaluator = evaluator
        if hasattr(self.dataset, 'metainfo'):
            evaluator.dataset_meta = self.dataset.metainfo

    def begin(self) -> None:
        """Get ready to judge the masks of a new search; called on rank 0."""

    def judge(self, requests: Sequence[Request]) -> List[Measurement]:
        """Measure masks; called on every rank with the same requests."""
        raise NotImplementedError

    def measure_cost(self, reward: Reward) -> CostTable:
        """Measure what attention costs at each of its places, on the first batch."""
        batch = copy.deepcopy(next(iter(self.dataloader)))
        with torch.no_grad():
            data = self.model.data_preprocessor(batch, False)
        if reward.cost_runtime is not None:
            return runtime_latency(
                self.space, data['inputs'], reward.cost_runtime, reward.cost_precision
            )
        assert reward.cost is not None
        return measure_cost(reward.cost, self.model, self.space, data)

    def fingerprint(self) -> Dict[str, str]:
        """Hash what measurements depend on, beside the settings."""
        raise NotImplementedError
