"""FLOPs of a network, and how long it takes."""

import time
from typing import Any, Callable, List, Optional, Sequence

import numpy as np
import torch
from mmengine.analysis import FlopAnalyzer
from torch import Tensor, nn

REPEATS = 20
WARM_UP = 2
"""rounds that do not count: the first ones allocate and choose algorithms"""


def median_seconds(functions: Sequence[Callable[[], Any]]) -> List[float]:
    """Time functions alternately; return the median of each, in seconds."""
    times = time_alternately(functions, WARM_UP + REPEATS)[:, WARM_UP:]
    return np.median(times, axis=1).tolist()


def time_alternately(
    functions: Sequence[Callable[[], Any]],
    rounds: int,
    *,
    rng: Optional[np.random.Generator] = None,
    before: Callable[[], Any] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Any:
    """Time functions in rounds, so that all see the same changes of the machine.

    Args:
        functions: Each is called once a round.
        rounds: Number of rounds.
        rng: Draws the order of each round; without it the next function in turn begins,
            so that none is always the first.
        before: What is called before each of them, and not timed.
        clock: Gives seconds.

    Returns:
        Seconds ``(functions, rounds)``.
    """
    seconds = np.empty((len(functions), rounds))
    for number in range(rounds):
        order = np.roll(np.arange(len(functions)), -number)
        if rng is not None:
            order = rng.permutation(len(functions))
        for place in order.tolist():
            before()
            _wait_for_gpu()
            started = clock()
            functions[place]()
            _wait_for_gpu()
            seconds[place, number] = clock() - started
    return seconds


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
