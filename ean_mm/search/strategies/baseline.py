"""The baselines that rewards are compared with."""

from typing import Optional

from torch import Tensor


class MovingAverageBaseline:
    """Exponential moving average of the mean reward of a step.

    It reduces the variance of REINFORCE (Williams, 1992) without a bias. It starts at
    the first mean, and is updated before it is used.

    Args:
        decay: Weight of the past.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.value: Optional[float] = None

    def update(self, mean_reward: float) -> float:
        """Take in the mean reward of a step and return the baseline after it."""
        if self.value is None:
            self.value = mean_reward
        self.value = self.decay * self.value + (1 - self.decay) * mean_reward
        return self.value


def leave_one_out(returns: Tensor) -> Tensor:
    """Return for each of M masks the mean of the others' returns, ``(M,)``.

    It does not depend on the mask that it is for, and so adds no bias. Source: Kool et
    al., 2019 (https://openreview.net/forum?id=r1lgTGL5DE).
    """
    return (returns.sum() - returns) / (len(returns) - 1)
