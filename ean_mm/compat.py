"""What the OpenMMLab packages need on today's PyTorch."""

from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version

if digit_version(torch.__version__) < digit_version('2.6'):
    raise ImportError(
        'EAN-MM needs PyTorch 2.6 or newer, which opens checkpoints without executing '
        f'what is in them; this is {torch.__version__}'
    )


def _history_buffer_attribute(owner: Any, name: str) -> Any:
    """Stand in for ``getattr`` in checkpoints: methods of ``HistoryBuffer`` only."""
    if owner is not HistoryBuffer:
        raise AttributeError(f'a checkpoint may not look up {name!r} of {owner!r}')
    return getattr(owner, name)


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load(weights_only=True)`` read what mmengine saves.

    An mmengine checkpoint holds message-hub buffers of numpy scalars beside the
    weights. Nothing here lets a checkpoint run code: these classes only hold data.
    """
    dtypes = {type(np.dtype(kind)) for kind in '?bBhHiIlLqQefdUS'}
    reconstruct = np.empty(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            np.ndarray,
            np.dtype,
            *dtypes,
            # numpy 1 and numpy 2 have different paths for the same two functions
            (reconstruct, 'numpy.core.multiarray._reconstruct'),
            (reconstruct, 'numpy._core.multiarray._reconstruct'),
            (scalar, 'numpy.core.multiarray.scalar'),
            (scalar, 'numpy._core.multiarray.scalar'),
            (_history_buffer_attribute, 'builtins.getattr'),
        ]
    )
