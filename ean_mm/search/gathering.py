"""Compute metrics of what all ranks have collected, the ranks sharing the work."""

from typing import Any, Dict, List, Sequence

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.evaluator import BaseMetric, Evaluator
from torch import Tensor

Result = Any


def compute_metrics(
    evaluators: Sequence[Evaluator], size: int
) -> List[Dict[str, float]]:
    """Compute the metrics of evaluators that have seen their rank's part of a data set.

    mmengine gathers an evaluator after the other and lets rank 0 compute, which takes
    longer than a small network's forward pass. Here as many evaluators as there are
    ranks are gathered at once, and every rank computes the metrics of one of them.

    Args:
        evaluators: One a mask, the same on every rank.
        size: Number of images in the data set.

    Returns:
        The metrics of each, on all ranks.
    """
    world_size = get_world_size()
    plain = all(
        type(metric).evaluate is BaseMetric.evaluate
        for evaluator in evaluators
        for metric in evaluator.metrics
    )
    if world_size == 1 or not plain:
        return [evaluator.evaluate(size) for evaluator in evaluators]
    metrics: List[Dict[str, float]] = []
    for start in range(0, len(evaluators), world_size):
        chunk = evaluators[start : start + world_size]
        packed = [[pack(m.results) for m in evaluator.metrics] for evaluator in chunk]
        parts = all_gather_object(packed)
        own: Dict[str, float] = {}
        rank = get_rank()
        if rank < len(chunk):
            for number, metric in enumerate(chunk[rank].metrics):
                results = interleave([unpack(part[rank][number]) for part in parts])
                own.update(_named(metric, metric.compute_metrics(results[:size])))
        metrics += all_gather_object(own)[: len(chunk)]
    return metrics


def pack(results: List[Result]) -> Any:
    """Stack results of one kind: a tensor is pickled as fast as a thousandth of it."""
    first = results[0] if results else None
    if not isinstance(first, dict) or not first:
        return results
    columns = {}
    for key in first:
        column = [result.get(key) for result in results]
        if not all(isinstance(value, Tensor) for value in column):
            return results
        if len({(value.shape, value.dtype) for value in column}) > 1:
            return results
        columns[key] = torch.stack(column).cpu()
    return columns


def unpack(packed: Any) -> List[Result]:
    """Undo :func:`pack`; the tensors come back on the CPU."""
    if not isinstance(packed, dict):
        return packed
    rows = zip(*(column.unbind() for column in packed.values()))
    return [dict(zip(packed, row)) for row in rows]


def interleave(parts: Sequence[List[Result]]) -> List[Result]:
    """Bring results into the order of the data set, as a distributed sampler dealt."""
    return [result for row in zip(*parts) for result in row]


def _named(metric: BaseMetric, values: Dict[str, float]) -> Dict[str, float]:
    if not metric.prefix:
        return values
    return {f'{metric.prefix}/{name}': value for name, value in values.items()}
