"""Spatial Group-wise Enhance, 2019 (https://arxiv.org/abs/1905.09646)."""

import warnings
from typing import Any, Optional, Tuple

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from ean_mm.errors import EANError
from ean_mm.models.attention.base import (
    IDENTITY_LOGIT,
    GateAttention,
    global_average_pool,
    is_channels_last,
    is_tracing,
    statistics_dtype,
)


def normalized_gate(
    similarity: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    """Return ``sigmoid(weight * (n - mean) / (std + eps) + bias)`` over space.

    Args:
        similarity: The similarity ``n``, of shape ``(N, G, H, W)``.
        weight: Scale of each group, ``(1, G, 1, 1)``.
        bias: Shift of each group, ``(1, G, 1, 1)``.
        eps: What is added to the unbiased standard deviation.
    """
    centred, std = _centre(similarity)
    return torch.addcmul(bias, centred, weight / (std + eps)).sigmoid()


def _centre(similarity: Tensor) -> Tuple[Tensor, Tensor]:
    """Return ``n - mean`` and the unbiased standard deviation over space."""
    centred = similarity - similarity.mean((2, 3), keepdim=True)
    # torch.std is NaN for a single position, where `centred` is 0, and slow. The root
    # has no derivative at 0, where a map is constant; `centred` multiplies it with 0.
    squares = centred.square().sum((2, 3), keepdim=True)
    smallest = torch.finfo(squares.dtype).tiny
    return centred, (squares / _freedom(similarity)).clamp(min=smallest).sqrt()


def _freedom(similarity: Tensor) -> int:
    return max(similarity.shape[2] * similarity.shape[3] - 1, 1)


class NormalizedGate(torch.autograd.Function):
    """:func:`normalized_gate` for training, in fewer passes over the map."""

    @staticmethod
    def forward(
        ctx: Any, similarity: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> Tensor:
        centred, std = _centre(similarity)
        gate = torch.addcmul(bias, centred, weight / (std + eps)).sigmoid_()
        ctx.save_for_backward(similarity, weight, bias, gate, std)
        ctx.eps = eps
        return gate

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Optional[Tensor], ...]:
        similarity, weight, bias, gate, std = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a second derivative
            inputs = similarity, weight, bias
            out = normalized_gate(*inputs, ctx.eps)
            grads = torch.autograd.grad(out, inputs, grad, create_graph=True)
            return *grads, None
        centred = similarity - similarity.mean((2, 3), keepdim=True)
        grad = torch.ops.aten.sigmoid_backward(grad, gate)
        projected = (grad * centred).sum((2, 3), keepdim=True)
        slope = weight / (std + ctx.eps)
        grad_weight = (projected / (std + ctx.eps)).sum(0, keepdim=True)
        grad_bias = grad.sum((0, 2, 3), keepdim=True)
        # of the slope, which std is in, and std has centred / (freedom * std)
        share = projected * slope / (std + ctx.eps) / (_freedom(similarity) * std)
        grad_similarity = grad.mul_(slope)
        grad_similarity.addcmul_(centred, share, value=-1)
        grad_similarity.sub_(grad.mean((2, 3), keepdim=True))
        return grad_similarity, grad_weight, grad_bias, None


@MODELS.register_module()
class SGEAttention(GateAttention):
    """Spatial attention, one map for each group of channels.

    The similarity of every position to its group's mean feature is normalised over
    space, scaled and shifted: ``gate = sigmoid(weight * (n - mean) / (std + eps) +
    bias)`` with ``n = sum_c x * avgpool(x)`` and the unbiased std (the authors' code).
    On a map of one position the normalised similarity is 0.

    The gate of a group of one channel depends on the sign of the channel's mean: where
    the mean of an image is near zero, the gradient is of the order of 1 / eps. Such
    networks train badly, which is warned of. ResNet-50 has four channels a group in its
    first stage, and no such gradients.

    Args:
        channels: Number C of channels.
        groups: Number of groups. A network with fewer channels uses C groups; a quarter
            of the channels of its first stage trains better.
        init: See :class:`~ean_mm.models.attention.base.GateAttention`. The paper
            starts with weight 0 and bias 1, a gate of 0.73.

    Raises:
        ValueError: The groups do not divide the channels.
    """

    eps = 1e-5

    def __init__(self, channels: int, groups: int = 64, init: str = 'default') -> None:
        super().__init__(channels, init)
        self.groups = min(groups, channels)
        if self.groups < 1 or channels % self.groups:
            raise EANError(
                f'SGEAttention: {groups} groups do not divide {channels} channels'
            )
        if self.groups == channels > 1:
            fewer = max(channels // 4, 1)
            warnings.warn(
                f'SGEAttention: a group for each of {channels} channels has large '
                f'gradients and trains badly; set groups={fewer} or less',
                stacklevel=2,
            )
        self.weight = nn.Parameter(torch.empty(1, self.groups, 1, 1))
        self.bias = nn.Parameter(torch.empty(1, self.groups, 1, 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.constant_(self.bias, 1.0 if self.init == 'default' else IDENTITY_LOGIT)

    def gate(self, x: Tensor) -> Tensor:
        """Return one gate map a group, ``(N, groups, H, W)``."""
        # Autocast would take the sums over space in half precision.
        with torch.autocast(x.device.type, enabled=False):
            dtype = statistics_dtype(x)
            in_bfloat16 = x.device.type == 'cpu' and x.dtype == torch.bfloat16
            # on a CPU its sums are taken in float32, without a copy of `x`
            similarity = self.similarity(x if in_bfloat16 else x.to(dtype)).to(dtype)
            scale = self.weight.to(similarity), self.bias.to(similarity), self.eps
            trains = torch.is_grad_enabled() and similarity.requires_grad
            if trains and not is_tracing():
                gate = NormalizedGate.apply(similarity, *scale)
            else:
                gate = normalized_gate(similarity, *scale)
            return gate.to(x.dtype)

    def similarity(self, x: Tensor) -> Tensor:
        """Return every position's similarity to its group's mean.

        Args:
            x: Feature map ``(N, C, H, W)``.

        Returns:
            The similarity ``(N, groups, H, W)``, in the memory order of ``x``.
        """
        mean = global_average_pool(x).to(x.dtype)
        if self.groups == self.channels:  # the sum over a channel would be a copy
            return x * mean[..., None, None]
        mean = mean.unflatten(1, (self.groups, -1))
        if is_channels_last(x):
            by_group = x.permute(0, 2, 3, 1).unflatten(3, (self.groups, -1))
            similarity = (by_group * mean[:, None, None]).sum(4)
            return similarity.permute(0, 3, 1, 2)
        by_group = x.unflatten(1, (self.groups, -1))
        return (by_group * mean[..., None, None]).sum(2)

    def for_input_of(self, conv: nn.Conv2d) -> Optional['SGEAttention']:
        if self.channels > 8 * self.groups:
            return None  # it would read more weights than it saves features
        return SGEForInput(self, conv)


class SGEForInput(SGEAttention):
    """SGE for the input of a 1x1 convolution.

    The similarity ``sum_c mean_c (w_c h + b_c)`` is, but for a constant that centring
    takes away, the product of the input ``h`` and ``sum_c mean_c w_c``.

    Args:
        attention: The attention for the convolution's output; its parameters are used.
        conv: The convolution; its weights are not copied.
    """

    def __init__(self, attention: SGEAttention, conv: nn.Conv2d) -> None:
        super().__init__(attention.channels, attention.groups, attention.init)
        self.weight, self.bias = attention.weight, attention.bias
        self._conv = (conv,)  # a layer of the block, not of this module

    def similarity(self, x: Tensor) -> Tensor:
        (conv,) = self._conv
        # SGE computes in float32 at least, whatever the layer's type.
        weight = conv.weight.flatten(1).to(x.dtype)
        bias = None if conv.bias is None else conv.bias.to(x.dtype)
        mean = F.linear(global_average_pool(x).to(x.dtype), weight, bias)
        mean = mean.unflatten(1, (self.groups, -1)).transpose(0, 1)
        # (groups, N, C_in)
        projection = torch.bmm(mean, weight.unflatten(0, (self.groups, -1)))
        by_position = x.flatten(2).transpose(1, 2)
        similarity = torch.bmm(by_position, projection.permute(1, 2, 0))
        return similarity.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
