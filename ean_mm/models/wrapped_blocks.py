"""Residual blocks and stages of other packages, given a place for attention.

A block or stage that is there already gets a class that is its own one and a mixin. It
keeps its code, its parameters and their names.
"""

import types
from functools import cache, partial
from typing import Any, Callable, Optional, Tuple

from mmengine.model import BaseModule
from mmpretrain.models.backbones.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ean_mm.errors import EANError
from ean_mm.models.attention import GateAttention, attend
from ean_mm.models.blocks import AttentionStage, EANBasicBlock, EANBottleneck


class WrappedBlock(BaseModule):
    """Mixin for a residual block whose own ``forward`` runs it.

    The toolboxes' blocks reach their norm layers through properties that look the layer
    up, so that one may have been folded into a convolution. While attention is plugged
    in, the property of the last one gives the layer followed by the attention.
    """

    with_cp: bool

    depth: int
    """number of the last norm layer, and of the convolution before it"""

    _followed: Optional[Callable] = None
    """while the block runs with attention: calls the last norm layer, then attends"""

    def _with_attention(self, norm: nn.Module) -> Callable[[Tensor], Tensor]:
        """Return the last norm layer, in a call with attention followed by it."""
        return norm if self._followed is None else partial(self._followed, norm)

    def forward(
        self,
        x: Tensor,
        attention: Optional[nn.Module] = None,
        state: Any = None,
    ) -> Any:
        """Compute the block; see :meth:`ean_mm.models.blocks.AttentionBlock.forward`.

        Raises:
            ValueError: The block does not come by its last norm layer once.
        """
        if self.with_cp and x.requires_grad:
            # The reentrant form, theirs, breaks a module that is used twice under DDP,
            # and cannot hand on a state.
            out, state = checkpoint(self._run, x, attention, state, use_reentrant=False)
        else:
            out, state = self._run(x, attention, state)
        return (out, state) if getattr(attention, 'stateful', False) else out

    def _run(
        self, x: Tensor, attention: Optional[nn.Module], state: Any
    ) -> Tuple[Tensor, Any]:
        """Run the block's own code, without its checkpointing."""
        states = [state]
        attend_to: Any = attention

        def followed(norm: nn.Module, x: Tensor) -> Tensor:
            y, after = attend(attend_to, norm(x), states[-1])
            states.append(after)
            # The block adds the shortcut in place, to what a user's attention may have
            # kept for its backward pass.
            keeps = not isinstance(attention, GateAttention) and y.requires_grad
            return y.clone() if keeps else y

        with_cp, self.with_cp = self.with_cp, False
        self._followed = None if attention is None else followed
        try:
            out = super().forward(x)
        finally:
            self.with_cp, self._followed = with_cp, None
        if attention is not None and len(states) != 2:
            raise EANError(
                f'{type(self).__name__} passes its last norm layer {len(states) - 1} '
                'times in a call, so that attention has no place there; use a '
                'backbone whose residual blocks pass it once'
            )
        return out, states[-1]


class WrappedBasicBlock(WrappedBlock):
    """Mixin for a block of two convolutions."""

    depth = 2

    @property
    def norm2(self) -> Callable[[Tensor], Tensor]:
        return self._with_attention(getattr(self, self.norm2_name))


class WrappedBottleneck(WrappedBlock):
    """Mixin for a block of three convolutions, or of others between two."""

    depth = 3

    @property
    def norm3(self) -> Callable[[Tensor], Tensor]:
        return self._with_attention(getattr(self, self.norm3_name))


def give_place(stage: nn.Sequential) -> None:
    """Give the blocks of a stage, and the stage, their places for attention.

    Where mmpretrain's own code runs a block, ours takes its place, which computes the
    same with less memory.

    Raises:
        ValueError: The stage or a block in it is of another kind.
    """
    if type(stage).forward is not nn.Sequential.forward:
        raise EANError(f'{type(stage).__name__} is no sequence of residual blocks')
    for block in stage:
        kind: Any = type(block)
        mixin: Any
        if kind.forward is BasicBlock.forward:
            mixin = EANBasicBlock
        elif kind.forward is Bottleneck.forward:
            mixin = EANBottleneck
        elif hasattr(block, 'rfp_forward'):
            raise EANError(
                f'{kind.__name__} runs its convolutions in two ways (rfp_forward)'
            )
        elif isinstance(getattr(kind, 'norm3', None), property):
            mixin = WrappedBottleneck
        elif isinstance(getattr(kind, 'norm2', None), property):
            mixin = WrappedBasicBlock
        else:
            raise EANError(f'{kind.__name__} has no last norm layer norm2 or norm3')
        block.__class__ = extended(mixin, kind)
    stage.__class__ = extended(AttentionStage, type(stage))  # type: ignore[arg-type]


@cache
def extended(mixin: Any, kind: Any) -> Any:
    """Make a class of a mixin and a class, with the name of the latter."""

    def reduce(self: Any, protocol: int) -> Tuple:
        return _restore, (mixin, kind), vars(self)

    members = dict(__module__=kind.__module__, __reduce_ex__=reduce)
    return types.new_class(
        kind.__name__, (mixin, kind), exec_body=lambda body: body.update(members)
    )


def _restore(mixin: Any, kind: Any) -> Any:
    """Make an object to copy or unpickle into; no module has its class by name."""
    cls = extended(mixin, kind)
    return cls.__new__(cls)
