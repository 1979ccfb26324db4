"""Residual blocks and stages that attention can be plugged into."""

from typing import Any, Optional, Sequence

from mmpretrain.models.backbones.resnet import BasicBlock, Bottleneck, ResLayer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ean_mm.models.attention import attend


class AttentionBlock:
    """Mixin for a residual block that takes its attention as an argument.

    ``relu(attention(residual(x)) + shortcut(x))``: attention acts on the residual
    branch, after its last norm layer and before the addition. Without attention the
    block computes what its parent class computes.
    """

    def residual(self, x: Tensor) -> Tensor:
        """Return the residual branch up to and including its last norm layer."""
        raise NotImplementedError

    def shortcut(self, x: Tensor) -> Tensor:
        """Return what the residual branch is added to."""
        return x if self.downsample is None else self.downsample(x)

    def merge(self, residual: Tensor, shortcut: Tensor) -> Tensor:
        """Add the (attended) residual branch to the shortcut."""
        return self.drop_path(residual) + shortcut

    def forward(
        self, x: Tensor, attention: Optional[nn.Module] = None, state: Any = None
    ) -> Any:
        """Compute the block.

        Args:
            x: Input of shape ``(N, C_in, H, W)``.
            attention: The module to plug in, or None for the plain block.
            state: State of a stateful attention module before this block.

        Returns:
            The output ``(N, C, H', W')``; with a stateful attention module the pair
            of the output and the state after this block.
        """

        def inner_forward(x, state):
            residual = self.residual(x)
            if attention is not None:
                residual, state = attend(attention, residual, state)
            return self.merge(residual, self.shortcut(x)), state

        if self.with_cp and x.requires_grad:
            # The reentrant form breaks a module that is used twice under DDP.
            out, state = checkpoint(inner_forward, x, state, use_reentrant=False)
        else:
            out, state = inner_forward(x, state)
        out = self.relu(out)
        return (out, state) if getattr(attention, 'stateful', False) else out


class EANBasicBlock(AttentionBlock, BasicBlock):
    """mmpretrain's ``BasicBlock`` with a place for attention."""

    def residual(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.conv1(x)))
        return self.norm2(self.conv2(x))


class EANBottleneck(AttentionBlock, Bottleneck):
    """mmpretrain's ``Bottleneck`` with a place for attention."""

    def residual(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.conv1(x)))
        x = self.relu(self.norm2(self.conv2(x)))
        return self.norm3(self.conv3(x))


class EANStage(ResLayer):
    """A stage of residual blocks, run with attention in some of them.

    Args:
        contract_dilation: Halve the dilation of the first block, as mmseg does.
        **kwargs: See mmpretrain's ``ResLayer``.
    """

    def __init__(self, contract_dilation: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        dilation = kwargs.get('dilation', 1)
        if contract_dilation and dilation > 1:
            first = self[0]
            conv = first.conv2 if isinstance(first, Bottleneck) else first.conv1
            first.dilation = dilation // 2
            conv.dilation = conv.padding = (dilation // 2,) * 2

    def forward(
        self,
        x: Tensor,
        attentions: Optional[Sequence[nn.Module]] = None,
        bits: Sequence[int] = (),
    ) -> Tensor:
        """Run the blocks.

        Args:
            x: Input of shape ``(N, C_in, H, W)``.
            attentions: The attention module of each block; a shared one stands at
                every block. Its state runs on as long as the module stays the same.
            bits: 0 or 1 for each block: where the attention is plugged in.

        Returns:
            The output ``(N, C, H', W')`` of the last block.
        """
        if attentions is None or not any(bits):
            return super().forward(x)
        previous, state = None, None
        for block, attention, bit in zip(self, attentions, bits):
            if not bit:
                x = block(x)
                continue
            if attention is not previous:
                previous, state = attention, None
            if getattr(attention, 'stateful', False):
                x, state = block(x, attention, state)
            else:
                x = block(x, attention)
        return x
