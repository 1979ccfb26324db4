"""The controller's policy network: a distribution over masks."""

import torch
from torch import Tensor, nn
from torch.distributions import Categorical


class Policy(nn.Module):
    """Two logits for each bit, from a constant input.

    Source: EAN, section 3.2, and the authors' code: zeros of size 20 -> Linear(50) ->
    ReLU -> Linear(2 L), logits divided by a temperature, one categorical for each bit.

    Args:
        num_bits: Number L of bits in a mask.
        input_size: Size of the constant zero input.
        hidden_size: Units of the hidden layer.
        temperature: Divisor of the logits.
    """

    def __init__(
        self,
        num_bits: int,
        *,
        input_size: int = 20,
        hidden_size: int = 50,
        temperature: float = 5.0,
    ) -> None:
        super().__init__()
        self.num_bits = num_bits
        self.temperature = temperature
        self.layers = nn.Sequential(
            nn.Linear(input_size, hidden_size),
            nn.ReLU(),
            nn.Linear(hidden_size, 2 * num_bits),
        )
        self.register_buffer('constant_input', torch.zeros(input_size))

    def forward(self) -> Categorical:
        """Return the distribution of the L bits, each over the values 0 and 1."""
        logits = self.layers(self.constant_input).view(self.num_bits, 2)
        return Categorical(logits=logits / self.temperature)

    @torch.no_grad()
    def probabilities(self) -> Tensor:
        """Return the probability ``(L,)`` of each bit to be 1."""
        return self().probs[:, 1]
