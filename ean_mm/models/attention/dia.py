"""DIANet: Dense-and-Implicit Attention, AAAI 2020 (https://arxiv.org/abs/1905.10671)."""

from typing import Any, Optional, Tuple

import torch
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

State = Tuple[Tensor, Tensor]


@MODELS.register_module()
class DIAAttention(GateAttention):
    """Channel attention from an LSTM cell that runs along the blocks of a stage.

    With ``v = avgpool(x)`` and the state ``(h, c)``, which starts at zero:
    ``i, f, g, o = w_ih(v) + w_hh(h)``, ``c' = sigmoid(f) * c + sigmoid(i) * tanh(g)``,
    ``h' = sigmoid(o) * sigmoid(c')``; the gate is ``h'``. Each of ``w_ih`` and ``w_hh``
    is a two-layer bottleneck (fig. 4 of the paper; sigmoid, not tanh, on the cell).

    Args:
        channels: Number C of channels.
        ratio: The hidden layers have ``max(1, C // ratio)`` units; 20 in the paper's
            ImageNet networks, 4 on CIFAR.
        init: See :class:`~ean_mm.models.attention.base.GateAttention`. A cell that
            starts at zero cannot open its gate beyond sigmoid(1) = 0.73, so under
            ``'identity'`` the first cell state is a parameter, ``initial_cell``.
    """

    stateful = True
    invertible = True

    def __init__(self, channels: int, ratio: int = 20, init: str = 'default') -> None:
        super().__init__(channels, init)
        hidden = bottleneck_width(channels, ratio)
        self.w_ih: Any = self._bottleneck(channels, hidden)
        self.w_hh: Any = self._bottleneck(channels, hidden)
        if init == 'identity':
            self.initial_cell = nn.Parameter(torch.empty(channels))
        self.register_buffer('initial_gates', None)  # of a deployed network
        self.reset_parameters()

    @staticmethod
    def _bottleneck(channels: int, hidden: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(channels, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, 4 * channels),
        )

    def reset_parameters(self) -> None:
        for layer in (self.w_ih[0], self.w_ih[2], self.w_hh[0], self.w_hh[2]):
            layer.reset_parameters()
        if self.init == 'identity':
            for layer in (self.w_ih[2], self.w_hh[2]):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
            # Keep the cell, write little into it, and let it out.
            logits = torch.tensor([-1.0, 1.0, 0.0, 1.0]) * IDENTITY_LOGIT
            with torch.no_grad():
                self.w_ih[2].bias.copy_(logits.repeat_interleave(self.channels))
            nn.init.constant_(self.initial_cell, IDENTITY_LOGIT)

    def initial_state(self, v: Tensor) -> State:
        """Return the state ``(h, c)`` before a stage's first plugged block."""
        zeros = v.new_zeros(v.shape[0], self.channels)
        cell = self.initial_cell.expand_as(zeros) if self.init == 'identity' else zeros
        return zeros, cell

    def step(self, v: Tensor, state: Optional[State] = None) -> Tuple[Tensor, State]:
        """Advance the cell by one block.

        Args:
            v: Pooled features ``(N, C)``.
            state: The pair ``(h, c)``, each ``(N, C)``, or None at the start.

        Returns:
            The gate ``(N, C)`` and the new state.
        """
        hidden, cell = self.initial_state(v) if state is None else state
        if state is None and self.initial_gates is not None:
            gates = self.w_ih(v) + self.initial_gates
        else:
            gates = self.w_ih(v) + self.w_hh(hidden)
        i, f, g, o = gates.chunk(4, dim=1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.sigmoid()
        return hidden, (hidden, cell)

    def gate(self, x: Tensor, state: Optional[State] = None) -> Tuple[Tensor, State]:
        """Return the gate ``(N, C, 1, 1)`` for ``x`` and the state after it."""
        v = global_average_pool(x).to(self.w_ih[0].weight.dtype)
        gate, state = self.step(v, state)
        return gate.to(x.dtype)[..., None, None], state

    @torch.no_grad()
    def for_input_of(self, conv: nn.Conv2d) -> 'DIAAttention':
        squeeze, relu, excite = self.w_ih
        moved = with_layers(
            self, w_ih=nn.Sequential(compose(conv, squeeze), relu, excite)
        )
        # A constant at the start of a stage, where the hidden state is zero.
        moved.initial_gates = self.w_hh(squeeze.weight.new_zeros(self.channels))
        return moved
