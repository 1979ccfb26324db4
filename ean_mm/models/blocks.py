"""Residual blocks and stages that attention can be plugged into."""

from typing import Any, Optional, Sequence, Tuple

import torch
from mmpretrain.models.backbones.resnet import BasicBlock, Bottleneck, ResLayer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ean_mm.models.attention import GateAttention, attend
from ean_mm.models.attention.base import compiles
from ean_mm.models.fused import InvertibleGatedReLU, gated_sum, needs_gradient

HOOKS = ('forward', 'forward_pre', 'backward', 'backward_pre')


class AttentionBlock:
    """Mixin for a residual block that takes its attention as an argument.

    ``relu(attention(residual(x)) + shortcut(x))``: attention acts on the residual
    branch, after its last norm layer and before the addition. Without attention the
    block computes what its parent class computes.
    """

    gates_early = False
    """whether the attention takes the input of the residual branch's last layer, as
    :meth:`~ean_mm.models.attention.GateAttention.before` gives it"""

    def hidden(self, x: Tensor) -> Tensor:
        """Return the residual branch as far as the input of its last convolution."""
        raise NotImplementedError

    def project(self, hidden: Tensor) -> Tensor:
        """Return the residual branch, from the input of its last convolution on."""
        raise NotImplementedError

    def residual(self, x: Tensor) -> Tensor:
        """Return the residual branch up to and including its last norm layer."""
        return self.project(self.hidden(x))

    def shortcut(self, x: Tensor) -> Tensor:
        """Return what the residual branch is added to."""
        return x if self.downsample is None else self.downsample(x)

    def merge(
        self,
        residual: Tensor,
        shortcut: Tensor,
        attention: Optional[nn.Module] = None,
        state: Any = None,
        inplace: bool = True,
        hidden: Optional[Tensor] = None,
    ) -> Tuple[Tensor, Any]:
        """Attend to the residual branch, add the shortcut and apply the ReLU.

        Args:
            residual: The residual branch, ``(N, C, H, W)``.
            shortcut: What it is added to, of the same shape.
            attention: The module to plug in, or None.
            state: State of a stateful attention module before this block.
            inplace: Whether ``residual`` may be overwritten.
            hidden: What the gate is computed from, ``residual`` by default.

        Returns:
            The output ``(N, C, H, W)`` of the block and the state after it.
        """
        if hidden is None and not self._fuses(attention):
            if attention is not None:
                residual, state = attend(attention, residual, state)
                inplace = False  # it may be what went in
            residual = self.drop_path(residual)
            add = residual.add_ if inplace else residual.add
            return self.relu(add(shortcut)), state
        source = residual if hidden is None else hidden
        if attention.stateful:
            gate, state = attention.gate(source, state)
        else:
            gate = attention.gate(source)
        if needs_gradient(residual, gate, shortcut):
            if inplace and attention.invertible and self._inverts(residual, gate):
                return InvertibleGatedReLU.apply(residual, gate, shortcut), state
            inplace = False
        return self.relu(gated_sum(residual, gate, shortcut, inplace)), state

    def _fuses(self, attention: Optional[nn.Module]) -> bool:
        """Whether attention can give its gate without being called."""
        return (
            isinstance(attention, GateAttention)
            and type(attention).forward is GateAttention.forward
            and not any(getattr(attention, f'_{kind}_hooks') for kind in HOOKS)
            and (not self.training or isinstance(self.drop_path, nn.Identity))
        )

    def _inverts(self, residual: Tensor, gate: Tensor) -> bool:
        """Whether the backward pass can do without the residual branch."""
        return (
            isinstance(self.relu, nn.ReLU)
            and residual.requires_grad
            and residual.dtype == gate.dtype
            and residual.dtype in (torch.float32, torch.float64)
            and not compiles()
        )

    def deploy_attention(self, attention: nn.Module) -> nn.Module:
        """Return what stands for the attention once the norm layers are folded."""
        return attention

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
            hidden = self.hidden(x)
            return self.merge(
                self.project(hidden),
                self.shortcut(x),
                attention,
                state,
                hidden=hidden if self.gates_early and attention is not None else None,
            )

        if self.with_cp and x.requires_grad:
            # The reentrant form breaks a module that is used twice under DDP.
            out, state = checkpoint(inner_forward, x, state, use_reentrant=False)
        else:
            out, state = inner_forward(x, state)
        return (out, state) if getattr(attention, 'stateful', False) else out


class EANBasicBlock(AttentionBlock, BasicBlock):
    """mmpretrain's ``BasicBlock`` with a place for attention."""

    def hidden(self, x: Tensor) -> Tensor:
        return self.relu(self.norm1(self.conv1(x)))

    def project(self, hidden: Tensor) -> Tensor:
        return self.norm2(self.conv2(hidden))


class EANBottleneck(AttentionBlock, Bottleneck):
    """mmpretrain's ``Bottleneck`` with a place for attention."""

    def hidden(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.conv1(x)))
        return self.relu(self.norm2(self.conv2(x)))

    def project(self, hidden: Tensor) -> Tensor:
        return self.norm3(self.conv3(hidden))

    def deploy_attention(self, attention: nn.Module) -> nn.Module:
        if self._fuses(attention) and isinstance(self.norm3, nn.Identity):
            moved = attention.before(self.conv3)
            if moved is not None:
                self.gates_early = True
                return moved
        return attention


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
        shared: bool = True,
    ) -> Tensor:
        """Run the blocks.

        Args:
            x: Input of shape ``(N, C_in, H, W)``.
            attentions: The attention module of each block; a shared one stands at
                every block.
            bits: 0 or 1 for each block: where the attention is plugged in.
            shared: Let the state of stateful attention run from block to block.

        Returns:
            The output ``(N, C, H', W')`` of the last block.
        """
        if attentions is None or not any(bits):
            return super().forward(x)
        state = None
        for block, attention, bit in zip(self, attentions, bits):
            if not bit:
                x = block(x)
            elif getattr(attention, 'stateful', False):
                x, state = block(x, attention, state if shared else None)
            else:
                x = block(x, attention)
        return x
