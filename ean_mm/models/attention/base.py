"""What the attention modules have in common, and how the backbones use them.

An attention module is any ``nn.Module`` that maps a feature map ``(N, C, H, W)`` to one
of the same shape. Two optional abilities are known to the backbones:

- a module with ``stateful = True`` carries a state along the blocks of a stage: it maps
  ``(x, state)`` to ``(y, state)``, where the first state of a stage is None. The state
  is a value that goes in and comes out, never an attribute, so that activation
  checkpointing may run a block twice;
- a :class:`GateAttention` computes its gate apart from applying it.
"""

from typing import Any, Tuple

import torch
from torch import Tensor, nn

from ean_mm.errors import EANError

IDENTITY_LOGIT = 5.0
"""Logit of the gate under ``init='identity'``: sigmoid(5) = 0.993."""


class GateAttention(nn.Module):
    """Attention that scales its input: ``y = x * gate(x)``.

    Subclasses implement :meth:`gate`. Keeping the gate apart from its application lets
    a backbone fuse gate, residual addition and ReLU.

    Args:
        channels: Number C of channels of the feature maps.
        init: ``'default'`` is the initialisation of the paper, a gate of about 0.5.
            ``'identity'`` starts with a gate of about 1, so that attention enters a
            trained network without disturbing its features.
    """

    stateful = False

    def __init__(self, channels: int, init: str = 'default') -> None:
        super().__init__()
        if init not in ('default', 'identity'):
            raise EANError(f"init={init!r} is unknown; use 'default' or 'identity'")
        self.channels = channels
        self.init = init

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate for ``x``, in a shape that broadcasts to ``(N, C, H, W)``."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``x`` of shape ``(N, C, H, W)`` by its gate."""
        return x * self.gate(x)

    def extra_repr(self) -> str:
        return f'channels={self.channels}, init={self.init!r}'


def statistics_dtype(x: Tensor) -> torch.dtype:
    """The type in which statistics of ``x`` are taken: float32 for half precision."""
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


def global_average_pool(x: Tensor) -> Tensor:
    """Average ``(N, C, H, W)`` over space to ``(N, C)``, at least in float32."""
    return x.mean((2, 3), dtype=statistics_dtype(x))


def bottleneck_width(channels: int, ratio: int) -> int:
    """Hidden width of a bottleneck MLP: ``channels // ratio``, at least 1."""
    if ratio < 1:
        raise EANError(f'ratio={ratio} must be at least 1')
    return max(1, channels // ratio)


def attend(attention: nn.Module, x: Tensor, state: Any = None) -> Tuple[Tensor, Any]:
    """Apply an attention module to ``x``, handing a stateful one its state.

    Returns:
        The attended feature map ``(N, C, H, W)`` and the state for the next block.

    Raises:
        ValueError: The output does not have the shape of ``x``.
    """
    if getattr(attention, 'stateful', False):
        y, state = attention(x, state)
    else:
        y = attention(x)
    check_shape(attention, x, y)
    return y, state


def check_shape(attention: nn.Module, x: Tensor, y: Any) -> None:
    """Refuse an attention output that could not take the place of its input."""
    shape = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
    if shape != tuple(x.shape):
        raise EANError(
            f'{type(attention).__name__} maps {tuple(x.shape)} to {shape}; attention '
            'must keep the shape (N, C, H, W)'
        )
