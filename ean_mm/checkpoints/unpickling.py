"""What a checkpoint may name beside weights: stand-ins that take data and check it."""

import math
import re
from typing import Any, Dict

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


class _Dtype:
    """Stand in for ``numpy.dtype`` in checkpoints: numbers and text only.

    The state of a numpy dtype sets sizes and flags that numpy relies on without a
    check: with a negative size, reading a scalar corrupts memory.
    """

    def __init__(self, kind: str, align: bool = False, copy: bool = False) -> None:
        if re.fullmatch(r'[bifuSU]\d{1,4}', kind) is None:
            raise TypeError(f'a checkpoint may not hold arrays of {kind!r}')
        self.dtype = np.dtype(kind)

    def __setstate__(self, state: tuple) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array of a checkpoint; empty until its content is set."""

    def __new__(cls, *args: Any) -> '_Array':
        return super().__new__(cls, 0)

    def __setstate__(self, state: tuple) -> None:
        version, shape, dtype, fortran_order, content = state
        size = math.prod(shape) * dtype.dtype.itemsize
        if min(shape, default=0) < 0 or size != len(content):
            raise ValueError('an array of the checkpoint lacks a part')
        super().__setstate__((version, shape, dtype.dtype, fortran_order, content))

    def __reduce__(self) -> Any:
        return self.view(np.ndarray).__reduce__()


def _scalar(dtype: _Dtype, content: bytes) -> np.generic:
    return np.frombuffer(content, dtype.dtype, 1)[0]


class _HistoryBuffer(HistoryBuffer):
    """Stand in for mmengine's buffer in checkpoints, which it becomes once it is read.

    Mmengine's own takes its statistics' functions, for all buffers of the process, from
    the checkpoint.
    """

    def __setstate__(self, state: dict) -> None:
        logs, counts = (
            np.array(state[f'_{kind}_history']) for kind in ('log', 'count')
        )
        HistoryBuffer.__init__(self, logs, counts, int(state['max_length']))
        self.__class__ = HistoryBuffer


def _no_attribute(owner: Any, name: str) -> None:
    """Stand in for ``getattr`` in checkpoints, which look up statistics' functions."""


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load(weights_only=True)`` read what mmengine saves.

    An mmengine checkpoint holds message-hub buffers of numpy scalars beside the
    weights. Nothing here lets a checkpoint run code: what it names is not what it
    gets, but a stand-in that only takes data, and checks it.
    """
    stand_ins: Dict[str, Any] = {
        'builtins.getattr': _no_attribute,
        'mmengine.logging.history_buffer.HistoryBuffer': _HistoryBuffer,
        'numpy.dtype': _Dtype,
        'numpy.ndarray': _Array,
    }
    for module in ('numpy.core', 'numpy._core'):  # of numpy 1 and numpy 2
        stand_ins[f'{module}.multiarray._reconstruct'] = _Array
        stand_ins[f'{module}.multiarray.scalar'] = _scalar
    torch.serialization.add_safe_globals(
        [(stand_in, name) for name, stand_in in stand_ins.items()]
    )
