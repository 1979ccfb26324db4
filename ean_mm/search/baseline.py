"""The baseline that rewards are compared with."""

from typing import Optional


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
