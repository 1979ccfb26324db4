"""What a mask is worth."""

import math
from dataclasses import dataclass
from typing import Mapping, Optional

from ean_mm.errors import EANError, one_line

COSTS = ('latency', 'parameters', 'flops')
UNITS = {'percent': 1.0, 'fraction': 100.0}


@dataclass
class Reward:
    """``weight * metric (percent) + sparsity_weight * sparsity`` (method: R).

    Instead of sparsity, or beside it, a cost can count: what attention adds to the
    plain network's latency, parameters or FLOPs, in percent. ``cost_weight`` is
    subtracted for every percent of it, ``over_budget_weight`` for every percent above
    ``cost_budget``: ``Reward(cost='latency', cost_budget=2.0)`` asks for the best
    metric at no more than 2 % of latency.

    Args:
        metric: Name of the metric, as the evaluator reports it: ``'accuracy/top1'``,
            ``'coco/bbox_mAP'``, ``'mIoU'``.
        unit: What the evaluator reports: ``'percent'`` or ``'fraction'``.
        weight: Weight of the metric, in percent.
        sparsity_weight: Weight of the fraction of blocks without attention; by default
            the paper's 2.0, and 0 with a cost.
        cost: ``'latency'``, ``'parameters'`` or ``'flops'``; see
            :func:`~ean_mm.search.evaluation.cost.measure_cost`.
        cost_runtime: Where to measure the latency: ``'openvino'`` or
            ``'onnxruntime'``, see
            :func:`~ean_mm.search.evaluation.runtime_latency.runtime_latency`; by
            default in PyTorch.
        cost_precision: What OpenVINO computes in: ``'f32'`` or ``'bf16'``.
        cost_weight: Weight of the cost, in percent.
        cost_budget: The cost that a mask may have, in percent.
        over_budget_weight: Weight of what is above it.

    Raises:
        ValueError: Unknown unit or cost, or a weight of a cost that is not named.
    """

    metric: str = 'accuracy/top1'
    unit: str = 'percent'
    weight: float = 1.0
    sparsity_weight: Optional[float] = None
    cost: Optional[str] = None
    cost_weight: float = 0.0
    cost_budget: Optional[float] = None
    over_budget_weight: float = 10.0
    cost_runtime: Optional[str] = None
    cost_precision: str = 'f32'

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise EANError(
                f"unit={self.unit!r} is unknown; use 'percent' or 'fraction'"
            )
        if self.cost not in (None, *COSTS):
            raise EANError(f'cost={self.cost!r} is unknown; use {", ".join(COSTS)}')
        counts = self.cost_weight != 0 or self.cost_budget is not None
        if (self.cost is not None) != counts:
            raise EANError(
                'a cost goes with cost_weight or cost_budget: reward=dict('
                "cost='latency', cost_budget=2.0)"
            )
        if self.cost_runtime is not None and self.cost != 'latency':
            raise EANError(
                f"a runtime has a latency alone; use cost='latency' with cost_runtime="
                f'{self.cost_runtime!r}, or no cost_runtime'
            )
        if self.sparsity_weight is None:
            self.sparsity_weight = 2.0 if self.cost is None else 0.0

    def percent(self, metrics: Mapping[str, float]) -> float:
        """Pick the metric out of an evaluator's results.

        Raises:
            ValueError: It is not among them, or not a finite number.
        """
        names = one_line(', '.join(metrics)) or 'its metrics (it reports none)'
        if self.metric not in metrics:
            raise EANError(
                f"the evaluator reports no {self.metric!r}; set the reward's metric to "
                f'one of {names}'
            )
        try:
            value = float(metrics[self.metric])
        except (TypeError, ValueError) as error:
            raise EANError(
                f'{self.metric} is {metrics[self.metric]!r:.60}, not a number; set the '
                f"reward's metric to one that is, of {names}"
            ) from error
        if not math.isfinite(value):
            raise EANError(
                f"{self.metric} is {value}: the supernet's predictions or the reward "
                'set are broken; look at the training loss and the labels, or set the '
                f"reward's metric to another of {names}"
            )
        if value == -1 and self.unit == 'fraction':  # how pycocotools says it
            raise EANError(
                f'{self.metric} is -1: there is nothing in the reward set that it '
                "could count; hold out more images, or set the reward's metric to "
                f'another of {names}'
            )
        return value * UNITS[self.unit]

    def __call__(self, percent: float, sparsity: float, cost: float = 0.0) -> float:
        """Return the reward of a mask.

        Args:
            percent: The metric, in percent.
            sparsity: Fraction of blocks without attention.
            cost: What attention adds to the plain network's, in percent.
        """
        sparsity_weight = self.sparsity_weight or 0.0
        reward = self.weight * percent + sparsity_weight * sparsity
        if self.cost is not None:
            reward -= self.cost_weight * cost
        if self.cost_budget is not None:
            reward -= self.over_budget_weight * max(0.0, cost - self.cost_budget)
        return reward
