"""Residual blocks and stages that attention can be plugged into."""

from typing import Any, Optional, Sequence, Tuple

from mmengine.model import BaseModule
from mmpretrain.models.backbones.resnet import BasicBlock, Bottleneck, ResLayer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ean_mm.models.attention import GateAttention, attend
from ean_mm.models.attention.base import gives_gate, is_tracing
from ean_mm.models.fused import (
    INVERTIBLE,
    InvertibleGatedReLU,
    PooledMap,
    gated_sum,
    needs_gradient,
)
from ean_mm.models.masked import Place, modules_at


class AttentionBlock(BaseModule):
    """Mixin for a residual block that takes its attention as an argument.

    ``relu(attention(residual(x)) + shortcut(x))``: attention acts on the residual
    branch, after its last norm layer and before the addition. Without attention the
    block computes what its parent class computes.
    """

    gates_early = False
    """whether the attention takes the input of the residual branch's last layer, as
    :meth:`~ean_mm.models.attention.GateAttention.for_input_of` gives it"""

    depth = 2
    """number of convolutions in the residual branch, each with a norm layer"""

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
        assert isinstance(attention, GateAttention)
        if inplace and hidden is None and self._inverts(attention, residual):
            residual, average = PooledMap.apply(residual)
            gate, state = attention.advance(average, state)
            return InvertibleGatedReLU.apply(residual, gate, shortcut), state
        gate, state = attention.advance(residual if hidden is None else hidden, state)
        inplace = inplace and not needs_gradient(residual, gate, shortcut)
        return self.relu(gated_sum(residual, gate, shortcut, inplace)), state

    def _fuses(self, attention: Optional[nn.Module]) -> bool:
        """Whether gate, addition and ReLU can run as one step."""
        return gives_gate(attention) and (
            not self.training or isinstance(self.drop_path, nn.Identity)
        )

    def _inverts(self, attention: GateAttention, residual: Tensor) -> bool:
        """Whether the backward pass can do without the residual branch."""
        return (
            attention.invertible
            and isinstance(self.relu, nn.ReLU)
            and needs_gradient(residual)
            and residual.dtype in INVERTIBLE
            and not is_tracing()
            # as what instance norm returns; it may not be overwritten by PooledMap
            and not residual._is_view()
        )

    def forward(
        self,
        x: Tensor,
        attention: Optional[nn.Module] = None,
        state: Any = None,
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

        def inner_forward(x: Tensor, state: Any) -> Tuple[Tensor, Any]:
            hidden = self.hidden(x)
            residual, shortcut = self.project(hidden), self.shortcut(x)
            early = self.gates_early and attention is not None
            source = hidden if early else None
            return self.merge(residual, shortcut, attention, state, hidden=source)

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

    depth = 3

    def hidden(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.conv1(x)))
        return self.relu(self.norm2(self.conv2(x)))

    def project(self, hidden: Tensor) -> Tensor:
        return self.norm3(self.conv3(hidden))


class EANStage(ResLayer):
    """A stage of residual blocks, run with attention in some of them.

    The stage knows its attention, so that it has it whoever calls the stage: mmseg's
    ICNet calls those of its backbone one by one.

    Args:
        contract_dilation: Halve the dilation of the first block, as mmseg does.
        **kwargs: See mmpretrain's ``ResLayer``.
    """

    places: Sequence[Place] = ()
    """where each block finds its attention; set by the backbone's ``set_mask``"""

    shared = True
    """whether the state of stateful attention runs from block to block"""

    def __init__(self, contract_dilation: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        dilation = kwargs.get('dilation', 1)
        if contract_dilation and dilation > 1:
            first: Any = self[0]
            conv: Any = first.conv2 if isinstance(first, Bottleneck) else first.conv1
            first.dilation = dilation // 2
            conv.dilation = conv.padding = (dilation // 2,) * 2

    def forward(self, x: Tensor) -> Tensor:
        """Run the blocks.

        Args:
            x: Input of shape ``(N, C_in, H, W)``.

        Returns:
            The output ``(N, C, H', W')`` of the last block.
        """
        state: Any = None
        attentions = modules_at(self.places) or [None] * len(self)
        for block, attention in zip(self, attentions):
            if getattr(attention, 'stateful', False):
                x, state = block(x, attention, state if self.shared else None)
            else:
                x = block(x, attention)
        return x
