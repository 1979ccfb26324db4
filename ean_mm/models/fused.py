"""Gate, residual addition and ReLU with little memory and memory traffic."""

from typing import Any, Tuple

import torch
from torch import Tensor

from ean_mm.models.attention.base import (
    global_average_pool,
    grouped,
    is_tracing,
    scale,
)


def gated_sum(
    residual: Tensor, gate: Tensor, shortcut: Tensor, inplace: bool = False
) -> Tensor:
    """Return ``residual * gate + shortcut``, in inference without the product.

    Args:
        residual: Feature map of shape ``(N, C, H, W)``.
        gate: Its gate, as :meth:`~ean_mm.models.attention.GateAttention.gate` shapes
            it.
        shortcut: What is added, ``(N, C, H, W)``.
        inplace: Whether ``residual`` may be overwritten with the result. No gradient
            may need it.
    """
    if is_tracing() or needs_gradient(residual, gate, shortcut):
        return scale(residual, gate) + shortcut  # nothing that exports as a reshape
    factor, gate = grouped(residual, gate)
    addend = shortcut.view(factor.shape)
    if not factor.dtype == gate.dtype == addend.dtype:
        return (factor * gate).add_(addend).view(residual.shape)
    # A view of its own could differ in the stride of a batch of one, and be refused.
    out = factor if inplace else None
    return torch.addcmul(addend, factor, gate, out=out).view(residual.shape)


INVERTIBLE = (torch.float32, torch.float64, torch.bfloat16)
"""types of feature maps whose rounding errors :class:`InvertibleGatedReLU` allows"""


class PooledMap(torch.autograd.Function):
    """A feature map and its global average ``(N, C, 1, 1)``.

    The backward pass adds the average's gradient to the map's where that is. Autograd
    would make a second map of it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tuple[Tensor, Tensor]:
        ctx.mark_dirty(x)  # it goes out as it came in, and may be overwritten
        return x, global_average_pool(x.detach())[..., None, None]

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_average: Tensor) -> Tensor:
        share = (grad_average / (grad.shape[2] * grad.shape[3])).to(grad.dtype)
        return grad + share if torch.is_grad_enabled() else grad.add_(share)


class InvertibleGatedReLU(torch.autograd.Function):
    """``relu(residual * gate + shortcut)`` in the memory of ``residual``.

    The backward pass keeps the result, which the next block keeps anyway, instead of
    ``residual``: where the ReLU is open, ``residual * gate = result - shortcut``, so
    that the gate's gradient is ``sum(grad * (result - shortcut)) / gate``. A sigmoid's
    own derivative then multiplies by its value, so that the error of the logit's
    gradient stays at the rounding error of the shortcut however small the gate is. In
    bfloat16 that is large for one position, and averages out in the sum over space.
    """

    @staticmethod
    def forward(ctx: Any, residual: Tensor, gate: Tensor, shortcut: Tensor) -> Tensor:
        if residual.dtype == torch.bfloat16:  # slow in addcmul, up to ten times
            residual.mul_(gate.to(residual.dtype)).add_(shortcut).relu_()
        else:
            torch.addcmul(shortcut, residual, gate, out=residual).relu_()
        ctx.mark_dirty(residual)
        ctx.save_for_backward(residual, gate, shortcut)
        return residual

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        result, gate, shortcut = ctx.saved_tensors
        # What ReLU's own backward pass calls; a quarter of the time of torch.where.
        grad = torch.ops.aten.threshold_backward(grad, result, 0)
        smallest = torch.finfo(gate.dtype).tiny
        residual = result - shortcut
        if torch.is_grad_enabled():  # a second derivative forbids to overwrite
            product, out = residual * grad, None
        else:
            product = out = residual.mul_(grad)
        grad_gate = product.sum((2, 3), keepdim=True) / gate.clamp(min=smallest)
        return torch.mul(grad, gate.to(grad.dtype), out=out), grad_gate, grad


def needs_gradient(*tensors: Tensor) -> bool:
    """Whether autograd will want to differentiate what is computed of the tensors."""
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
