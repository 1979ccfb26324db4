"""FLOPs of a network, and how long it takes."""

import statistics
import time
from typing import Any, Callable, List

import torch
from mmengine.analysis import FlopAnalyzer
from torch import Tensor, nn

REPEATS = 20


def median_seconds(functions: List[Callable[[], Any]]) -> List[float]:
    """Time functions alternately; return the median of each, in seconds."""
    times: List[List[float]] = [[] for _ in functions]
    for repeat in range(REPEATS + 2):
        for function, own in zip(functions, times):
            _wait_for_gpu()
            started = time.perf_counter()
            function()
            _wait_for_gpu()
            if repeat >= 2:  # the first ones allocate and choose algorithms
                own.append(time.perf_counter() - started)
    return [statistics.median(own) for own in times]


def _wait_for_gpu() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class _OfImages(nn.Module):
    """A module as a function of its first argument, for mmengine's analysis."""

    def __init__(self, module: nn.Module, *args: Any) -> None:
        super().__init__()
        self.module = module
        self.args = args

    def forward(self, x: Tensor) -> Any:
        return self.module(x, *self.args)


def count_flops(module: nn.Module, x: Tensor, *args: Any) -> int:
    """Count the multiply-adds of a call, as mmengine does."""
    analyzer = FlopAnalyzer(_OfImages(module, *args), (x,))
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return analyzer.total()
