"""Versions of PyTorch and of the toolboxes: what was tested, what they need today."""

import contextlib
import importlib
import math
import re
import sys
import warnings
from types import ModuleType
from typing import Any, Dict, Mapping

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version

from ean_mm.version import __version__

# What the test suite passes on, by import name: OpenMMLab's packages, and those of
# their continuation, which have the same import names.
TESTED = {
    'openmmlab': {
        'torch': 'torch==2.11.0',
        'mmengine': 'mmengine==0.10.7',
        'mmcv': 'mmcv==2.1.0',
        'mmpretrain': 'mmpretrain==1.2.0',
        'mmdet': 'mmdet==3.3.0',
        'mmseg': 'mmsegmentation==1.2.2',
    },
    'onedl': {
        'torch': 'torch==2.11.0',
        'mmengine': 'onedl-mmengine==0.10.12',
        'mmcv': 'onedl-mmcv==2.3.6',
        'mmpretrain': 'onedl-mmpretrain==1.3.6',
        'mmdet': 'onedl-mmdetection==3.5.1',
        'mmseg': 'onedl-mmsegmentation==1.4.2',
    },
}

if digit_version(torch.__version__) < digit_version('2.6'):
    raise ImportError(
        'EAN-MM needs PyTorch 2.6 or newer, which opens checkpoints without executing '
        f'what is in them; this is {torch.__version__}'
    )


def untested(versions: Mapping[str, str]) -> Dict[str, str]:
    """Find what EAN-MM was not tested with.

    Args:
        versions: Versions that are installed, by import name.

    Returns:
        Of each package whose major or minor version is another one, the version that
        was tested, in the stack that has most in common with ``versions``.
    """
    others = []
    for stack in TESTED.values():
        tested = {name: stack[name].partition('==')[2] for name in versions}
        others.append(
            {
                name: version
                for name, version in tested.items()
                if version.split('.')[:2] != versions[name].split('.')[:2]
            }
        )
    return min(others, key=len)


def warn_of_untested_versions() -> None:
    """Warn in one line of packages in use that EAN-MM was not tested with."""
    versions = {
        name: sys.modules[name].__version__
        for name in TESTED['openmmlab']
        if hasattr(sys.modules.get(name), '__version__')
    }
    tested = untested(versions)
    if tested:
        # Without a place in the source, of which Python would print a second line.
        warnings.warn_explicit(
            f'EAN-MM {__version__} is not tested with '
            + ', '.join(f'{name} {versions[name]}' for name in tested)
            + ', but with '
            + ', '.join(f'{name} {version}' for name, version in tested.items()),
            UserWarning,
            filename='ean_mm',
            lineno=1,
        )


def import_toolbox(name: str) -> ModuleType:
    """Import a toolbox, or a module of one.

    Raises:
        ImportError: It is not installed, or refuses the version of another package;
            one line says what goes together.
    """
    try:
        # The onedl packages print that data sets of theirs are not there.
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except AssertionError as error:
        # mmpretrain, mmdet and mmseg assert versions, and the first imports the second.
        together = ', or '.join(' '.join(stack.values()) for stack in TESTED.values())
        raise ImportError(
            f'{name} does not import: {error} These go together: {together}'
        ) from None


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
