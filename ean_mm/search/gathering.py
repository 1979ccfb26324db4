"""Gather what metrics have collected from all ranks, fast."""

from typing import Any, List

import numpy as np
import torch
from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric, Evaluator
from torch import Tensor


class _PackedTensor:
    """A tensor on its way as an array, which is much faster to pickle."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array


def pack(value: Any) -> Any:
    """Replace the tensors in a metric's result by arrays."""
    if isinstance(value, Tensor) and value.dtype is not torch.bfloat16:
        return _PackedTensor(value.detach().cpu().numpy())
    return _inside(value, pack)


def unpack(value: Any) -> Any:
    """Undo :func:`pack`; the tensors come back on the CPU."""
    if isinstance(value, _PackedTensor):
        return torch.from_numpy(value.array)
    return _inside(value, unpack)


def _inside(value: Any, function: Any) -> Any:
    if type(value) is dict:
        return {key: function(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(function(item) for item in value)
    return value


def gather_in_memory(evaluator: Evaluator) -> None:
    """Let the metrics of an evaluator, a copy, gather their results in memory.

    mmengine gathers by files or, under the name of ``'gpu'``, in memory with any
    backend; either takes longer than the evaluation of a small network if the results
    are many tensors. Nothing is changed where there is only one process.
    """
    if get_world_size() == 1:
        return
    for metric in evaluator.metrics:
        if isinstance(metric, BaseMetric):
            metric.collect_device = 'gpu'
            metric.results = [pack(result) for result in metric.results]
            _unpack_before(metric)


def _unpack_before(metric: BaseMetric) -> None:
    compute = metric.compute_metrics

    def compute_metrics(results: List[Any]) -> Any:
        return compute([unpack(result) for result in results])

    metric.compute_metrics = compute_metrics
