"""Spatial Group-wise Enhance, 2019 (https://arxiv.org/abs/1905.09646)."""

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ean_mm.errors import EANError
from ean_mm.models.attention.base import IDENTITY_LOGIT, GateAttention, statistics_dtype


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
            features = x.to(statistics_dtype(x)).unflatten(1, (self.groups, -1))
            similarity = (features * features.mean((3, 4), keepdim=True)).sum(2)
            centred = similarity - similarity.mean((2, 3), keepdim=True)
            positions = centred.shape[2] * centred.shape[3]
            # torch.std is NaN for a single position, where `centred` is 0.
            variance = centred.square().sum((2, 3), keepdim=True) / max(
                positions - 1, 1
            )
            normalised = centred / (variance.sqrt() + self.eps)
            return (normalised * self.weight + self.bias).sigmoid().to(x.dtype)
