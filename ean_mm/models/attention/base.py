"""What the attention modules have in common, and how the backbones use them.

An attention module is any ``nn.Module`` that maps a feature map ``(N, C, H, W)`` to one
of the same shape. Two optional abilities are known to the backbones:

- a module with ``stateful = True`` carries a state along the blocks of a stage: it maps
  ``(x, state)`` to ``(y, state)``, where the first state of a stage is None. The state
  is a value that goes in and comes out, never an attribute, so that activation
  checkpointing may run a block twice;
- a :class:`GateAttention` computes its gate apart from applying it.
"""

import copy
from typing import Any, Optional, Tuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ean_mm.errors import EANError

M = TypeVar('M', bound=nn.Module)

HOOKS = ('forward', 'forward_pre', 'backward', 'backward_pre')

IDENTITY_LOGIT = 5.0
"""Logit of the gate under ``init='identity'``: sigmoid(5) = 0.993."""


class GateAttention(nn.Module):
    """Attention that scales its input: ``y = x * gate(x)``.

    Subclasses implement :meth:`gate`; a stateful one takes the state there and returns
    the pair of gate and state. Keeping the gate apart from its application lets a
    backbone fuse gate, residual addition and ReLU.

    Args:
        channels: Number C of channels of the feature maps.
        init: ``'default'`` is the initialisation of the paper, a gate of about 0.5.
            ``'identity'`` starts with a gate of about 1, so that attention enters a
            trained network without disturbing its features.
    """

    stateful = False

    invertible = False
    """whether a backbone may give :meth:`gate` the average over space in place of ``x``
    and overwrite ``x``: the gate is positive, so that ``x`` can be had back from
    ``x * gate``, and uses ``x`` only through :func:`global_average_pool`"""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # What a class promises of its gate does not hold for a subclass's own gate.
        super().__init_subclass__(**kwargs)
        if 'gate' in vars(cls):
            for name in ('invertible', 'for_input_of'):
                if name not in vars(cls):
                    setattr(cls, name, getattr(GateAttention, name))

    def __init__(self, channels: int, init: str = 'default') -> None:
        super().__init__()
        if init not in ('default', 'identity'):
            raise EANError(f"init={init!r} is unknown; use 'default' or 'identity'")
        self.channels = channels
        self.init = init

    def gate(self, x: Tensor, *state: Any) -> Any:
        """Return the gate for ``x`` of shape ``(N, C, H, W)``.

        Its shape is ``(N, C or 1, H or 1, W or 1)``, or ``(N, G, H or 1, W or 1)`` for
        G groups of C / G successive channels.
        """
        raise NotImplementedError

    def advance(self, x: Tensor, state: Any = None) -> Tuple[Tensor, Any]:
        """Return the gate for ``x`` and the state after it, if any or not."""
        return self.gate(x, state) if self.stateful else (self.gate(x), state)

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """Scale ``x`` of shape ``(N, C, H, W)`` by its gate.

        With a state it is the pair of the result and the state after it.
        """
        gate, state = self.advance(x, state)
        return (scale(x, gate), state) if self.stateful else scale(x, gate)

    def for_input_of(self, conv: nn.Conv2d) -> Optional['GateAttention']:
        """Return this attention for the input of a 1x1 convolution, if there is such.

        Attention acts on the convolution's output. Pooling commutes with a 1x1
        convolution, so that a gate that is a function of pooled features can be had
        from the convolution's input, which in a bottleneck has a quarter of the
        channels, and the two successive linear maps become one.

        Args:
            conv: A 1x1 convolution with stride 1.

        Returns:
            Attention whose :meth:`gate` maps the convolution's input to the gate for
            its output, for inference only; None if there is no cheaper form.
        """
        return None

    def extra_repr(self) -> str:
        return f'channels={self.channels}, init={self.init!r}'


def gives_gate(attention: Optional[nn.Module]) -> bool:
    """Whether attention can be had by its gate alone, without being called."""
    return (
        isinstance(attention, GateAttention)
        and type(attention).forward is GateAttention.forward
        and not any(getattr(attention, f'_{kind}_hooks') for kind in HOOKS)
    )


def statistics_dtype(x: Tensor) -> torch.dtype:
    """The type in which statistics of ``x`` are taken: float32 for half precision."""
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


def global_average_pool(x: Tensor) -> Tensor:
    """Average ``(N, C, H, W)`` over space to ``(N, C)``, at least in float32."""
    dtype = statistics_dtype(x)
    on_cpu = x.device.type == 'cpu' and not is_tracing()
    if on_cpu and x.dtype == torch.bfloat16 and torch.is_autocast_enabled('cpu'):
        # Much faster than `mean`. It adds in float32 and rounds the sum, as a layer
        # that takes the average would.
        return x.sum((2, 3)).to(dtype) / (x.shape[2] * x.shape[3])
    if on_cpu and x.dtype == dtype and is_channels_last(x) and not x.requires_grad:
        # Twice as fast as `mean`. An export would fix height and width, and the
        # backward pass would keep `x`.
        return F.avg_pool2d(x, x.shape[2:]).flatten(1)
    return x.mean((2, 3), dtype=dtype)


@torch.no_grad()
def compose(conv: nn.Conv2d, linear: nn.Linear) -> nn.Linear:
    """Make one linear layer of a 1x1 convolution of pooled features and a linear one.

    Args:
        conv: Convolution of a map of one position, C_in to C channels.
        linear: Linear layer of C channels.
    """
    composed = nn.Linear(conv.in_channels, linear.out_features).to(linear.weight)
    weight, bias = linear.weight.double(), linear.bias.double()
    if conv.bias is not None:
        bias = bias + weight @ conv.bias.double()
    composed.weight.copy_(weight @ conv.weight.double()[..., 0, 0])
    composed.bias.copy_(bias)
    return composed


def with_layers(attention: M, **layers: nn.Module) -> M:
    """Copy a module with some of its layers replaced and the others in common."""
    changed = copy.copy(attention)
    for name, value in vars(attention).items():
        if isinstance(value, dict):  # parameters, buffers, layers, hooks
            setattr(changed, name, value.copy())
    changed._modules.update(layers)
    return changed


def is_tracing() -> bool:
    """Whether a compiler or exporter is recording, which fuses operations itself."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def is_channels_last(x: Tensor) -> bool:
    """Whether ``(N, C, H, W)`` is stored in the order ``(N, H, W, C)``.

    A map of one position or of one channel is stored in both orders.
    """
    return x.is_contiguous(memory_format=torch.channels_last)


def grouped(x: Tensor, gate: Tensor) -> Tuple[Tensor, Tensor]:
    """View ``x`` of shape ``(N, C, H, W)`` and its gate so that they broadcast."""
    groups = gate.shape[1]
    if groups in (1, x.shape[1]):
        return x, gate
    return x.unflatten(1, (groups, -1)), gate.unsqueeze(2)


def scale(x: Tensor, gate: Tensor) -> Tensor:
    """Multiply ``x`` of shape ``(N, C, H, W)`` by its gate."""
    view, gate = grouped(x, gate)
    y = view * gate
    return y if y.dim() == x.dim() else y.flatten(1, 2)


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
