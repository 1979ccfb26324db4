"""Spatial Group-wise Enhance, 2019 (https://arxiv.org/abs/1905.09646)."""

from typing import Optional

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
    statistics_dtype,
)


@MODELS.register_module()
class SGEAttention(GateAttention):
    """Spatial attention, one map for each group of channels.

    The similarity of every position to its group's mean feature is normalised over
    space, scaled and shifted: ``gate = sigmoid(weight * (n - mean) / (std + eps) +
    bias)`` with ``n = sum_c x * avgpool(x)`` and the unbiased std (the authors' code).
    On a map of one position the normalised similarity is 0.

    Args:
        channels: Number C of channels.
        groups: Number of groups. A network with fewer channels uses C groups.
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
            similarity = self.similarity(x.to(statistics_dtype(x)))
            centred = similarity - similarity.mean((2, 3), keepdim=True)
            positions = centred.shape[2] * centred.shape[3]
            # torch.std is NaN for a single position, where `centred` is 0, and slow.
            variance = centred.square().sum((2, 3), keepdim=True) / max(
                positions - 1, 1
            )
            slope = self.weight / (variance.sqrt() + self.eps)
            return torch.addcmul(self.bias, centred, slope).sigmoid().to(x.dtype)

    def similarity(self, x: Tensor) -> Tensor:
        """Return every position's similarity to its group's mean.

        Args:
            x: Feature map ``(N, C, H, W)``.

        Returns:
            The similarity ``(N, groups, H, W)``, in the memory order of ``x``.
        """
        mean = global_average_pool(x).unflatten(1, (self.groups, -1))
        if is_channels_last(x):
            by_group = x.permute(0, 2, 3, 1).unflatten(3, (self.groups, -1))
            similarity = (by_group * mean[:, None, None]).sum(4)
            return similarity.permute(0, 3, 1, 2)
        by_group = x.unflatten(1, (self.groups, -1))
        return (by_group * mean[..., None, None]).sum(2)

    def before(self, conv: nn.Conv2d) -> Optional['SGEAttention']:
        if self.channels > 8 * self.groups:
            return None  # it would read more weights than it saves features
        return _SGEBefore(self, conv)


class _SGEBefore(SGEAttention):
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
        weight = conv.weight.flatten(1)
        mean = F.linear(global_average_pool(x), weight, conv.bias)
        mean = mean.unflatten(1, (self.groups, -1)).transpose(0, 1)
        # (groups, N, C_in)
        projection = torch.bmm(mean, weight.unflatten(0, (self.groups, -1)))
        by_position = x.flatten(2).transpose(1, 2)
        similarity = torch.bmm(by_position, projection.permute(1, 2, 0))
        return similarity.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
