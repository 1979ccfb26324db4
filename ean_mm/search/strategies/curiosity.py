"""A bonus for masks that the controller has not seen: random network distillation."""

import torch
from torch import Tensor, nn


class Curiosity(nn.Module):
    """Prediction error of a learned network on a fixed random one.

    Source: Burda et al., 2019 (https://arxiv.org/abs/1810.12894); sizes from the EAN
    authors' code: a fixed MLP L -> 32 -> 32 -> 4L and a learned one L -> 32 -> 4L.

    Args:
        num_bits: Number L of bits in a mask.
        lr: Learning rate of the learned network's Adam.
    """

    def __init__(self, num_bits: int, lr: float) -> None:
        super().__init__()
        self.target = nn.Sequential(
            nn.Linear(num_bits, 32),
            nn.ReLU(),
            nn.Linear(32, 32),
            nn.ReLU(),
            nn.Linear(32, 4 * num_bits),
        ).requires_grad_(False)
        self.predictor = nn.Sequential(
            nn.Linear(num_bits, 32), nn.ReLU(), nn.Linear(32, 4 * num_bits)
        )
        self.optimizer = torch.optim.Adam(self.predictor.parameters(), lr=lr)

    def bonus(self, masks: Tensor) -> float:
        """Return the squared error summed over masks ``(M, L)`` and outputs.

        The predictor then takes one step on that error, so that the same masks earn
        less the next time.
        """
        masks = masks.float()
        error = (self.predictor(masks) - self.target(masks)).square().sum()
        self.optimizer.zero_grad()
        error.backward()
        self.optimizer.step()
        return error.item()
