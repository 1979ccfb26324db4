"""What a mask is worth."""

import math
from typing import Mapping

from ean_mm.errors import EANError

UNITS = {'percent': 1.0, 'fraction': 100.0}


class Reward:
    """``weight * metric (percent) + sparsity_weight * sparsity`` (method: R).

    Args:
        metric: Name of the metric, as the evaluator reports it: ``'accuracy/top1'``,
            ``'coco/bbox_mAP'``, ``'mIoU'``.
        unit: What the evaluator reports: ``'percent'`` or ``'fraction'``.
        weight: Weight of the metric, in percent.
        sparsity_weight: Weight of the fraction of blocks without attention.

    Raises:
        ValueError: Unknown unit.
    """

    def __init__(
        self,
        metric: str = 'accuracy/top1',
        unit: str = 'percent',
        weight: float = 1.0,
        sparsity_weight: float = 2.0,
    ) -> None:
        if unit not in UNITS:
            raise EANError(f"unit={unit!r} is unknown; use 'percent' or 'fraction'")
        self.metric = metric
        self.unit = unit
        self.weight = weight
        self.sparsity_weight = sparsity_weight

    def percent(self, metrics: Mapping[str, float]) -> float:
        """Pick the metric out of an evaluator's results.

        Raises:
            ValueError: It is not among them, or not a finite number.
        """
        if self.metric not in metrics:
            raise EANError(
                f"the evaluator reports no {self.metric!r}; set the reward's metric to "
                f'one of {", ".join(metrics) or "its metrics (it reports none)"}'
            )
        try:
            value = float(metrics[self.metric])
        except (TypeError, ValueError) as error:
            raise EANError(
                f'{self.metric} is {metrics[self.metric]!r:.60}, not a number; set the '
                "reward's metric to one that is"
            ) from error
        if not math.isfinite(value):
            raise EANError(
                f"{self.metric} is {value}: the supernet's predictions or the reward "
                'set are broken; look at the training loss and the labels'
            )
        return value * UNITS[self.unit]

    def __call__(self, percent: float, sparsity: float) -> float:
        """Return the reward of a mask.

        Args:
            percent: The metric, in percent.
            sparsity: Fraction of blocks without attention.
        """
        return self.weight * percent + self.sparsity_weight * sparsity
