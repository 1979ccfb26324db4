"""Squeeze-and-Excitation Networks, CVPR 2018 (https://arxiv.org/abs/1709.01507)."""

from mmengine.registry import MODELS
from torch import Tensor, nn

from ean_mm.models.attention.base import (
    IDENTITY_LOGIT,
    GateAttention,
    bottleneck_width,
    compose,
    global_average_pool,
    with_layers,
)


@MODELS.register_module()
class SEAttention(GateAttention):
    """Channel attention from a bottleneck MLP on the pooled features.

    ``gate = sigmoid(fc2(relu(fc1(avgpool(x)))))``, eqs. 2 to 4 of the paper.

    Args:
        channels: Number C of channels.
        ratio: The hidden layer has ``max(1, C // ratio)`` units.
        init: See :class:`~ean_mm.models.attention.base.GateAttention`.
    """

    invertible = True

    def __init__(self, channels: int, ratio: int = 16, init: str = 'default') -> None:
        super().__init__(channels, init)
        hidden = bottleneck_width(channels, ratio)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_normal_(layer.weight, mode='fan_out', nonlinearity='relu')
            nn.init.zeros_(layer.bias)
        if self.init == 'identity':
            nn.init.zeros_(self.fc2.weight)
            nn.init.constant_(self.fc2.bias, IDENTITY_LOGIT)

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate ``(N, C, 1, 1)`` for ``x`` of shape ``(N, C, H, W)``."""
        squeezed = global_average_pool(x).to(self.fc1.weight.dtype)
        logits = self.fc2(self.fc1(squeezed).relu())
        return logits.sigmoid().to(x.dtype)[..., None, None]

    def for_input_of(self, conv: nn.Conv2d) -> 'SEAttention':
        return with_layers(self, fc1=compose(conv, self.fc1))
