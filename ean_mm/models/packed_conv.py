"""Convolutions for inference, with what follows them and weights packed for oneDNN.

On a CPU, PyTorch hands convolutions to oneDNN, which reorders the weights in every
call: at batch 1 a third of the time of ResNet-50. Here that is done once for each input
shape, since the best order depends on it (the wrong one costs up to 15 times as much).
The operators are those that torch.compile writes into its own CPU code.
"""

import math
from functools import cache
from typing import Any, Dict, Iterator, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ean_mm.models.attention.base import is_tracing
from ean_mm.models.fused import gated_sum, needs_gradient

PART_BYTES = 16 * 2**20
"""greatest size of a temporary map: page faults of greater ones, which the allocator
returns to the system every time, can cost more than the convolution"""

KEPT_SHAPES = 2
"""input shapes for which packed weights are kept, as of a full and of a last batch"""


class PackedConv2d(nn.Conv2d):
    """A convolution for inference, followed by a ReLU, a residual addition, a gate.

    It shares the parameters of the convolution that it is made of. Where oneDNN does
    not serve (other devices and types, gradients, compilers and exporters) it computes
    the same with PyTorch's own operators.

    Args:
        conv: The convolution.
        relu: Whether a ReLU follows.
    """

    def __init__(self, conv: nn.Conv2d, relu: bool = False) -> None:
        geometry: Dict[str, Any] = dict(
            kernel_size=conv.kernel_size,
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
        )
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            groups=conv.groups,
            bias=conv.bias is not None,
            padding_mode=conv.padding_mode,
            device='meta',
            **geometry,
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.train(conv.training)
        self.relu = relu
        self._packed: Dict[torch.Size, Tuple[Any, ...]] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of ``(N, C_in, H, W)``, after the ReLU if there is."""
        operands = self.pack(x)
        if operands is not None:
            return _convolve(x, *operands, 'relu' if self.relu else 'none', [], '')
        y = super().forward(x)
        return F.relu(y, inplace=True) if self.relu else y

    def pack(self, x: Tensor) -> Optional[Tuple[Any, ...]]:
        """Return oneDNN's operands for an input; None where oneDNN does not serve."""
        if (
            is_tracing()
            or x.dtype != torch.float32
            or torch.is_autocast_enabled('cpu')
            or needs_gradient(x, self.weight)
        ):
            return None
        operands = self._packed.get(x.shape)
        if operands is None and self._is_served(x):
            operands = self._operands(x.shape)
            # A new dict, since other threads may be reading the old one.
            kept = list(self._packed.items())[1 - KEPT_SHAPES :]
            self._packed = dict([*kept, (x.shape, operands)])
        return operands

    def _is_served(self, x: Tensor) -> bool:
        return (
            x.device.type == self.weight.device.type == 'cpu'
            and self.weight.dtype == torch.float32
            and self.padding_mode == 'zeros'
            and not isinstance(self.padding, str)
            and x.dim() == 4
            and x.shape[1] == self.in_channels
            and x.numel() > 0
            and has_operators()
        )

    def _operands(self, shape: torch.Size) -> Tuple[Any, ...]:
        places = (self.padding, self.stride, self.dilation, self.groups)
        weight = torch.ops.mkldnn._reorder_convolution_weight(
            self.weight, *places, list(shape)
        )
        return (weight, self.bias, *places)

    def add_relu(
        self, x: Tensor, operands: Tuple[Any, ...], shortcut: Tensor
    ) -> Tensor:
        """Return ``relu(conv(x) + shortcut)`` in the memory of ``shortcut``.

        Args:
            x: Input ``(N, C_in, H, W)``.
            operands: What :meth:`pack` gives for it.
            shortcut: A map in channels-last order, of the shape of the result.
        """
        return _convolve_into(shortcut, x, *operands, 'add', 1.0, 'relu', [], '')

    def gated_add_relu(self, x: Tensor, gate: Tensor, shortcut: Tensor) -> Tensor:
        """Return ``relu(conv(x) * gate + shortcut)`` in the memory of ``shortcut``.

        Only for a 1x1 convolution.

        Args:
            x: Input ``(N, C_in, H, W)`` in channels-last order.
            gate: Gate for the convolution's output, as
                :meth:`~ean_mm.models.attention.GateAttention.gate` shapes it.
            shortcut: A map in channels-last order, of the shape of the result.
        """
        if shortcut.nbytes <= PART_BYTES:
            return gated_sum(self(x), gate, shortcut, out=shortcut).relu_()
        for part in _parts(shortcut):
            target = shortcut[part]
            own = gate[part] if gate.shape[2] > 1 else gate[part[:1]]
            gated_sum(self(x[part]), own, target, out=target).relu_()
        return shortcut

    def _apply(self, *args: Any, **kwargs: Any) -> nn.Module:
        self._packed = {}
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._packed = {}
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> Dict[str, Any]:
        return {**vars(self), '_packed': {}}  # packed weights cannot be copied or saved


def pack_convolutions(module: nn.Module) -> None:
    """Replace the convolutions in a module, those in its attention left out."""
    for name, child in module.named_children():
        if type(child) is nn.Conv2d:
            setattr(module, name, PackedConv2d(child))
        elif name != 'attentions':
            pack_convolutions(child)


def _parts(x: Tensor) -> Iterator[Tuple[slice, ...]]:
    """Cut ``(N, C, H, W)`` into samples, or rows of a sample, each part contiguous."""
    samples, _, rows, _ = x.shape
    count = math.ceil(x.nbytes / PART_BYTES)
    for some in _cut(samples, count):
        if count <= samples:
            yield (some,)
        else:
            for window in _cut(rows, math.ceil(count / samples)):
                yield some, slice(None), window


def _cut(length: int, count: int) -> Iterator[slice]:
    """Cut a range into at most ``count`` slices, all but the last of one length."""
    step = max(1, math.ceil(length / count))
    return (slice(first, first + step) for first in range(0, length, step))


def _convolve(*args: Any) -> Tensor:
    return torch.ops.mkldnn._convolution_pointwise.default(*args)


def _convolve_into(*args: Any) -> Tensor:
    return torch.ops.mkldnn._convolution_pointwise_.binary(*args)


@cache
@torch.no_grad()
def has_operators() -> bool:
    """Whether this PyTorch has oneDNN's operators and they do what they are used for.

    They are not part of its public interface.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    conv = nn.Conv2d(16, 16, 1)
    nn.init.constant_(conv.weight, -0.25)
    nn.init.constant_(conv.bias, 1.0)  # type: ignore[arg-type]
    x = torch.ones(1, 16, 4, 4).contiguous(memory_format=torch.channels_last)
    try:
        layer = PackedConv2d(conv)
        operands = layer._operands(x.shape)
        plain = _convolve(x, *operands, 'none', [], '')
        relu = _convolve(x, *operands, 'relu', [], '')
        total = layer.add_relu(x, operands, 3.5 * x)
    except (RuntimeError, AttributeError, TypeError):
        return False
    return bool((plain == -3).all() and (relu == 0).all() and (total == 0.5).all())
