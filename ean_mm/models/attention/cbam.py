"""CBAM: Convolutional Block Attention Module, ECCV 2018 (https://arxiv.org/abs/1807.06521)."""

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ean_mm.errors import EANError
from ean_mm.models.attention.base import (
    IDENTITY_LOGIT,
    GateAttention,
    bottleneck_width,
    global_average_pool,
    statistics_dtype,
)


@MODELS.register_module()
class CBAMAttention(GateAttention):
    """Channel attention followed by spatial attention.

    ``y = x * sigmoid(mlp(avgpool(x)) + mlp(maxpool(x)))`` (eq. 2), then
    ``y * sigmoid(conv([mean_c(y), max_c(y)]))`` (eq. 3). The convolution has a bias and
    no norm layer, whose statistics could not be shared among blocks.

    Args:
        channels: Number C of channels.
        ratio: The hidden layer has ``max(1, C // ratio)`` units.
        kernel_size: Odd size of the spatial convolution.
        init: See :class:`~ean_mm.models.attention.base.GateAttention`.

    Raises:
        ValueError: ``kernel_size`` is even.
    """

    def __init__(
        self,
        channels: int,
        ratio: int = 16,
        kernel_size: int = 7,
        init: str = 'default',
    ) -> None:
        super().__init__(channels, init)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise EANError(f'CBAMAttention: kernel_size={kernel_size} must be odd')
        hidden = bottleneck_width(channels, ratio)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for layer in (self.fc1, self.fc2, self.conv):
            layer.reset_parameters()
        if self.init == 'identity':
            nn.init.zeros_(self.fc2.weight)
            nn.init.constant_(self.fc2.bias, IDENTITY_LOGIT / 2)  # it is added twice
            nn.init.zeros_(self.conv.weight)
            nn.init.constant_(self.conv.bias, IDENTITY_LOGIT)  # type: ignore[arg-type]

    def _mlp(self, pooled: Tensor) -> Tensor:
        return self.fc2(self.fc1(pooled.to(self.fc1.weight.dtype)).relu())

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate ``(N, C, H, W)`` for ``x`` of that shape."""
        logits = self._mlp(global_average_pool(x)) + self._mlp(x.amax((2, 3)))
        channel_gate = logits.sigmoid().to(x.dtype)[..., None, None]
        y = x * channel_gate
        mean = y.mean(1, keepdim=True, dtype=statistics_dtype(x)).to(x.dtype)
        maps = torch.cat([mean, y.amax(1, keepdim=True)], dim=1)
        spatial_gate = self.conv(maps.to(self.conv.weight.dtype)).sigmoid()
        return channel_gate * spatial_gate.to(x.dtype)
