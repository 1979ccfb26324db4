"""Learning once more from past steps."""

from collections import deque
from typing import Deque, Dict, NamedTuple

import torch
from torch import Tensor


class Transition(NamedTuple):
    """What is kept of a step.

    Attributes:
        actions: The M masks, ``(M, L)`` of 0 and 1.
        rewards: Their rewards without curiosity, ``(M,)``.
        probs: Probability of each bit when it was drawn, ``(M, L)``.
    """

    actions: Tensor
    rewards: Tensor
    probs: Tensor


class ReplayBuffer:
    """The last steps of a search, oldest first.

    Args:
        size: Number of steps to keep.
    """

    def __init__(self, size: int) -> None:
        self.transitions: Deque[Transition] = deque(maxlen=size)

    def store(self, transition: Transition) -> None:
        """Keep a step, and forget the oldest one if there are too many."""
        self.transitions.append(transition)

    def sample(self) -> Transition:
        """Draw a stored step, each with the same probability."""
        return self.transitions[int(torch.randint(len(self.transitions), ()))]

    def __len__(self) -> int:
        return len(self.transitions)

    def state_dict(self) -> Dict[str, Tensor]:
        """Return the stored steps, a tensor for each attribute of theirs."""
        return dict(zip(Transition._fields, map(torch.stack, zip(*self.transitions))))

    def load_state_dict(self, state: Dict[str, Tensor]) -> None:
        """Take the steps of a :meth:`state_dict`."""
        self.transitions.clear()
        for step in zip(*(column.unbind() for column in state.values())):
            self.transitions.append(Transition(*step))


def replay_loss(
    log_prob: Tensor, transition: Transition, baseline: float, clip_coef: float
) -> Tensor:
    """Loss of a stored step, corrected for the policy's change since.

    This is the authors' form: the ratio is a constant, so that where the gradient of
    PPO's clipped objective is zero this one's is not; and the minimum is taken once,
    over the two sums.

    Args:
        log_prob: Log-probability of each stored bit under today's policy, ``(M, L)``.
        transition: The stored step.
        baseline: Today's baseline.
        clip_coef: The ratios are clipped to ``1 - clip_coef`` and ``1 + clip_coef``.
    """
    ratio = (log_prob.exp() / transition.probs).detach()
    clipped_ratio = ratio.clamp(1 - clip_coef, 1 + clip_coef)
    advantages = (transition.rewards - baseline).unsqueeze(1)
    surrogate = (ratio * log_prob * advantages).sum()
    clipped_surrogate = (clipped_ratio * log_prob * advantages).sum()
    return -torch.min(surrogate, clipped_surrogate) / len(transition.rewards)
