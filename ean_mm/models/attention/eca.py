"""ECA-Net: Efficient Channel Attention, CVPR 2020 (https://arxiv.org/abs/1910.03151)."""

import math
from typing import Optional

from mmengine.registry import MODELS
from torch import Tensor, nn

from ean_mm.errors import EANError
from ean_mm.models.attention.base import (
    IDENTITY_LOGIT,
    GateAttention,
    global_average_pool,
)


@MODELS.register_module()
class ECAAttention(GateAttention):
    """Channel attention from a 1-D convolution over neighbouring channels.

    ``gate = sigmoid(conv1d_k(avgpool(x)))`` (eq. 9), where k is the odd number nearest
    to ``|log2(C) / gamma + beta / gamma|`` (eq. 12; the authors' code rounds down and
    then up to odd).

    Args:
        channels: Number C of channels.
        kernel_size: Odd size k of the convolution; None to derive it from C.
        gamma: Slope of the mapping from C to k.
        beta: Offset of the mapping from C to k.
        init: See :class:`~ean_mm.models.attention.base.GateAttention`. The paper's
            convolution has no bias; ``'identity'`` adds one.

    Raises:
        ValueError: ``kernel_size`` is even.
    """

    invertible = True

    def __init__(
        self,
        channels: int,
        kernel_size: Optional[int] = None,
        gamma: float = 2,
        beta: float = 1,
        init: str = 'default',
    ) -> None:
        super().__init__(channels, init)
        if kernel_size is None:
            kernel_size = int(abs((math.log2(channels) + beta) / gamma)) | 1
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise EANError(f'ECAAttention: kernel_size={kernel_size} must be odd')
        self.conv = nn.Conv1d(
            1, 1, kernel_size, padding=kernel_size // 2, bias=init == 'identity'
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.conv.reset_parameters()
        if self.conv.bias is not None:  # init='identity'
            nn.init.zeros_(self.conv.weight)
            nn.init.constant_(self.conv.bias, IDENTITY_LOGIT)

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate ``(N, C, 1, 1)`` for ``x`` of shape ``(N, C, H, W)``."""
        pooled = global_average_pool(x).to(self.conv.weight.dtype)
        logits = self.conv(pooled.unsqueeze(1)).squeeze(1)
        return logits.sigmoid().to(x.dtype)[..., None, None]
