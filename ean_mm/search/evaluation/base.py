"""What the loop needs of a way to judge masks, and what one is told of a mask."""

from dataclasses import dataclass
from typing import Dict, List, Optional, Protocol, Sequence, Tuple

from ean_mm.search.evaluation.cost import CostTable
from ean_mm.search.history import Request

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


class Evaluation(Protocol):
    """A way to judge masks.

    Attributes:
        budgets: Iterations that a mask may be trained for, in ascending order, the last
            one being the full budget; none where nothing is trained.
        measure: What is rewarded: ``'metric'``, ``'loss'`` or ``'train_loss'``.
    """

    budgets: Tuple[int, ...]
    measure: str

    def begin(self) -> None:
        """Get ready to judge the masks of a new search; called on rank 0."""
        ...

    def judge(self, requests: Sequence[Request]) -> List[Measurement]:
        """Measure masks; called on every rank with the same requests."""
        ...

    def measure_cost(self, kind: str) -> CostTable:
        """Measure what attention costs at each of its places."""
        ...

    def fingerprint(self) -> Dict[str, str]:
        """Name what measurements depend on, beside the settings."""
        ...
