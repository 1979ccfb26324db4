"""Compute metrics of what all ranks have collected, the ranks sharing the work."""

from itertools import zip_longest
from typing import Any, Dict, List, Sequence

import torch
from mmengine.dist import all_gather_object, gather_object, get_rank, get_world_size
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.evaluator.metric import _to_cpu
from torch import Tensor

Result = Any
_NOTHING = object()


def compute_metrics(
    evaluators: Sequence[Evaluator], size: int
) -> List[Dict[str, float]]:
    """Compute the metrics of evaluators that have seen their rank's part of a data set.

    mmengine gathers an evaluator after the other, tensor by tensor, and lets rank 0
    compute, which takes longer than a small network's forward pass. Here every rank
    gets the packed results of another evaluator and computes its metrics.

    Args:
        evaluators: One a mask, the same on every rank.
        size: Number of images in the data set.

    Returns:
        The metrics of each, on all ranks.
    """
    world_size, rank = get_world_size(), get_rank()
    if world_size == 1 or not all(map(_is_plain, evaluators)):
        return [evaluator.evaluate(size) for evaluator in evaluators]
    metrics: List[Dict[str, float]] = []
    for start in range(0, len(evaluators), world_size):
        chunk = evaluators[start : start + world_size]
        parts: List[Any] = []
        for owner, evaluator in enumerate(chunk):
            packed = [pack(metric.results) for metric in evaluator.metrics]
            gathered = gather_object(packed, dst=owner)
            parts = gathered if owner == rank else parts
        own: Dict[str, float] = {}
        if rank < len(chunk):
            for metric, of_ranks in zip(chunk[rank].metrics, zip(*parts)):
                results = interleave([unpack(part) for part in of_ranks])[:size]
                own.update(_named(metric, metric.compute_metrics(results)))
        metrics += all_gather_object(own)[: len(chunk)]
    return metrics


def _is_plain(evaluator: Evaluator) -> bool:
    """Whether mmengine's own way may be replaced, and run on several ranks at once."""
    return type(evaluator).evaluate is Evaluator.evaluate and all(
        type(metric).evaluate is BaseMetric.evaluate
        and getattr(metric, 'outfile_prefix', None) is None
        and getattr(metric, 'out_file_path', None) is None
        for metric in evaluator.metrics
    )


def pack(results: List[Result]) -> Any:
    """Stack results of one kind: a tensor is pickled as fast as a thousandth of it.

    Others stay as they are. Tensors come to the CPU.
    """
    first = results[0] if results else None
    if isinstance(first, dict) and first:
        keys = first.keys()
        if all(isinstance(each, dict) and each.keys() == keys for each in results):
            columns = {key: [each[key] for each in results] for key in keys}
            if all(map(_is_uniform, columns.values())):
                return {name: torch.stack(columns[name]).cpu() for name in columns}
    return _to_cpu(results)


def _is_uniform(column: List[Any]) -> bool:
    return all(isinstance(value, Tensor) for value in column) and (
        len({(value.shape, value.dtype) for value in column}) == 1
    )


def unpack(packed: Any) -> List[Result]:
    """Undo :func:`pack`; the tensors come back on the CPU."""
    if not isinstance(packed, dict):
        return packed
    rows = zip(*(column.unbind() for column in packed.values()))
    return [dict(zip(packed, row)) for row in rows]


def interleave(parts: Sequence[List[Result]]) -> List[Result]:
    """Bring results into the order of the data set, as a distributed sampler dealt."""
    rows = zip_longest(*parts, fillvalue=_NOTHING)
    return [result for row in rows for result in row if result is not _NOTHING]


def _named(metric: BaseMetric, values: Dict[str, float]) -> Dict[str, float]:
    if not metric.prefix:
        return values
    return {f'{metric.prefix}/{name}': value for name, value in values.items()}
