"""SPANet: Spatial Pyramid Attention, ICME 2020 (doi 10.1109/ICME46284.2020.9102906)."""

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from ean_mm.models.attention.base import (
    IDENTITY_LOGIT,
    GateAttention,
    bottleneck_width,
    statistics_dtype,
    with_layers,
)


@MODELS.register_module()
class SPAAttention(GateAttention):
    """Channel attention from a pyramid of pooled features.

    The map is pooled to 1x1, 2x2 and 4x4; the 21 C values go through a bottleneck MLP:
    ``gate = sigmoid(fc2(relu(fc1(pyramid(x)))))``.

    Args:
        channels: Number C of channels.
        ratio: The hidden layer has ``max(1, C // ratio)`` units.
        init: See :class:`~ean_mm.models.attention.base.GateAttention`.
    """

    sizes = (1, 2, 4)

    exports_one_size = True
    """its adaptive pooling is exported for the image size of the example alone"""

    def __init__(self, channels: int, ratio: int = 16, init: str = 'default') -> None:
        super().__init__(channels, init)
        hidden = bottleneck_width(channels, ratio)
        positions = sum(size * size for size in self.sizes)
        self.fc1 = nn.Linear(positions * channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.fc1.reset_parameters()
        self.fc2.reset_parameters()
        if self.init == 'identity':
            nn.init.zeros_(self.fc2.weight)
            nn.init.constant_(self.fc2.bias, IDENTITY_LOGIT)

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate ``(N, C, 1, 1)`` for ``x`` of shape ``(N, C, H, W)``."""
        wide = x.to(statistics_dtype(x))
        pyramid = torch.cat(
            [F.adaptive_avg_pool2d(wide, size).flatten(1) for size in self.sizes], dim=1
        )
        logits = self.fc2(self.fc1(pyramid.to(self.fc1.weight.dtype)).relu())
        return logits.sigmoid().to(x.dtype)[..., None, None]

    @torch.no_grad()
    def for_input_of(self, conv: nn.Conv2d) -> 'SPAAttention':
        lengths = [size * size * self.channels for size in self.sizes]
        matrix = conv.weight.double()[..., 0, 0]  # (C, C_in)
        weights, bias = [], self.fc1.bias.double()
        for layer in self.fc1.weight.split(lengths, dim=1):
            by_position = layer.double().unflatten(1, (self.channels, -1))
            weights.append(torch.einsum('hcp,ci->hip', by_position, matrix).flatten(1))
            if conv.bias is not None:
                bias = bias + torch.einsum('hcp,c->h', by_position, conv.bias.double())
        weight = torch.cat(weights, dim=1)
        fc1 = nn.Linear(weight.shape[1], weight.shape[0]).to(self.fc1.weight)
        fc1.weight.copy_(weight)
        fc1.bias.copy_(bias)
        return with_layers(self, fc1=fc1)
