"""Attention at the end of a residual branch, in a block of any package."""

from typing import Any, Optional, Tuple

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ean_mm.errors import EANError
from ean_mm.models.attention import GateAttention, attend
from ean_mm.models.masked import Place, modules_at


class ResidualEnd:
    """The layer that ends a block's residual branch, followed by attention.

    A forward hook on the layer attends to what it returns, so that the block keeps its
    code and the names of its parameters. Another hook, on the block, finds the layer
    again if it was replaced: by norm folding, or by synchronised norm layers.

    Args:
        block: The residual block.
        name: Name of the layer in it, as ``'norm3'``.

    Raises:
        AttributeError: There is no such layer.
    """

    channels: int
    """of the maps that the residual branch ends with"""

    place: Place = None
    """where the attention is to be found; None: none is plugged in"""

    before: Optional['ResidualEnd'] = None
    """whose state a stateful attention goes on from; None: it starts anew"""

    handed_on = False
    """whether another one goes on from this one's state"""

    state: Any = None
    """the state after this block, until the next one takes it"""

    def __init__(self, block: Any, name: str) -> None:
        self.block, self.name = block, name
        self.hang()
        block.register_forward_pre_hook(self.hang)
        if getattr(block, 'with_cp', False):
            # The reentrant form, theirs, breaks a module that is used twice under DDP,
            # and cannot hand on a state.
            block.with_cp, block.forward = False, self.checkpointed

    @property
    def layer(self) -> nn.Module:
        """The layer that has the name now."""
        return self.block.get_submodule(self.name)

    def hang(self, *call: Any) -> None:
        """Follow the layer, unless this is done already."""
        if self not in self.layer._forward_hooks.values():
            self.layer.register_forward_hook(self)

    def __call__(self, layer: nn.Module, args: Any, out: Tensor) -> Optional[Tensor]:
        """Attend to what the layer returns."""
        (attention,) = modules_at([self.place])
        if attention is None:
            return None
        state = None
        if self.before is not None:
            state, self.before.state = self.before.state, None
            if state is None:
                raise EANError(
                    f'{type(attention).__name__} goes on from the block before, and '
                    f'{type(self.block).__name__} passes its {self.name} several times '
                    'in a call or is checkpointed from outside; use attention without '
                    "a state, or share='block'"
                )
        y, state = attend(attention, as_maps(layer, out), state)
        self.state = state if self.handed_on else None
        if not isinstance(attention, GateAttention) and y.requires_grad:
            # Blocks add the shortcut in place, to what a user's attention may have
            # kept for its backward pass.
            y = y.clone()
        return y.permute(0, 2, 3, 1) if isinstance(layer, nn.Linear) else y

    def checkpointed(self, x: Tensor) -> Tensor:
        """Run the block with activation checkpointing, the state among its inputs."""
        if not x.requires_grad:
            return type(self.block).forward(self.block, x)
        before = None if self.before is None else self.before.state
        out, self.state = checkpoint(self._run, x, before, use_reentrant=False)
        return out

    def _run(self, x: Tensor, before: Any) -> Tuple[Tensor, Any]:
        if self.before is not None:
            self.before.state = before
        try:
            return type(self.block).forward(self.block, x), self.state
        finally:
            self.state = None


def as_maps(layer: nn.Module, out: Tensor) -> Tensor:
    """Return ``(N, C, H, W)`` of what a layer returns: a linear one has C last."""
    return out.permute(0, 3, 1, 2) if isinstance(layer, nn.Linear) else out
