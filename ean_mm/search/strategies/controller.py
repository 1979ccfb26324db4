"""The reinforcement-learning controller that searches the mask.

Source: Efficient Attention Network (https://arxiv.org/abs/2011.14058), section 3.2,
and the authors' code for what the paper leaves open.
"""

from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import AbstractSet, Any, Dict, Iterator, List, Optional, Union

import torch
from mmengine.registry import TASK_UTILS
from torch import Tensor
from torch.distributions import Categorical

from ean_mm.errors import EANError
from ean_mm.search.space import Bits
from ean_mm.search.strategies.base import BaseSearcher, Masks, Values
from ean_mm.search.strategies.baseline import MovingAverageBaseline, leave_one_out
from ean_mm.search.strategies.curiosity import Curiosity
from ean_mm.search.strategies.policy import Policy
from ean_mm.search.strategies.replay import ReplayBuffer, Transition, replay_loss

MAX_REDRAWS = 20
"""further draws in place of a known mask, before its bits are flipped at random"""


@dataclass(frozen=True)
class ControllerSettings:
    """Hyperparameters of the controller; the defaults are the published ones."""

    num_steps: int = 300
    """steps of the search"""
    masks_per_step: int = 3
    """masks drawn and rewarded in a step (the paper's n + 1)"""
    lr: float = 0.05
    """learning rate of Adam, for the policy and for the curiosity's predictor"""
    temperature: float = 5.0
    """divisor of the policy's logits"""
    curiosity: bool = True
    """add the random-network-distillation bonus to the rewards"""
    baseline: bool = True
    """subtract a moving average of the mean reward"""
    baseline_decay: float = 0.95
    """decay of that average"""
    leave_one_out: bool = False
    """subtract the mean reward of the step's other masks instead of that average"""
    replay: bool = True
    """make a second, off-policy update from a stored step"""
    replay_size: int = 30
    """number of past steps that are kept for it"""
    replay_start: int = 10
    """first step, counted from 0, with a second update"""
    replay_weight: float = 0.1
    """weight of the second update's loss"""
    clip_coef: float = 0.1
    """the second update's probability ratios are clipped to 1 +- clip_coef"""
    distinct: bool = False
    """draw no mask that was rewarded before, as long as there are others"""
    polish: float = 0.0
    """share of the steps, the last ones, for one-bit flips of the best mask so far"""

    def __post_init__(self) -> None:
        positive = ('num_steps', 'masks_per_step', 'lr', 'temperature', 'replay_size')
        for name in positive:
            if not getattr(self, name) > 0:
                raise EANError(f'{name}={getattr(self, name)} must be above 0')
        if not 0 <= self.polish <= 1:
            raise EANError(f'polish={self.polish} is no share; give one from 0 to 1')
        if self.leave_one_out and self.masks_per_step < 2:
            raise EANError('leave_one_out=True needs masks_per_step of 2 or more')


PRESETS = {
    'paper': ControllerSettings(),
    # measured by tools/analysis_tools/compare_searchers.py
    'default': ControllerSettings(
        num_steps=150,
        masks_per_step=6,
        lr=0.1,
        curiosity=False,
        leave_one_out=True,
        replay=False,
        distinct=True,
        polish=0.4,
    ),
}


@TASK_UTILS.register_module()
class RLController(BaseSearcher):
    """REINFORCE over masks, with a baseline and, as published, curiosity and replay.

    A searcher is asked for the masks of a step and told their rewards:

        masks = controller.ask()
        controller.tell(masks, [reward(mask) for mask in masks])

    The sequence of masks depends on the seed and the rewards alone, and continues
    exactly from a :meth:`state_dict`.

    Args:
        num_bits: Number L of bits in a mask.
        seed: Seed of the networks and of every draw.
        preset: Name of the hyperparameters to start from. ``'paper'`` is the published
            setting, with the masks that were rewarded in replay and curiosity (the
            authors' code reshapes what it keeps for them so that two masks of a step
            are interleaved); ``'default'`` compares each mask with the others of its
            step, asks for no mask twice and spends its last steps on one-bit flips of
            the best mask, which finds better masks for as many evaluations.
        **settings: Hyperparameters that differ from the preset, see
            :class:`ControllerSettings`.

    Raises:
        ValueError: Unknown preset or hyperparameter.
    """

    def __init__(
        self, num_bits: int, *, seed: int = 0, preset: str = 'default', **settings: Any
    ) -> None:
        if preset not in PRESETS:
            raise EANError(f'preset {preset!r} is unknown; use {", ".join(PRESETS)}')
        try:
            self.settings = replace(PRESETS[preset], **settings)
        except TypeError as error:
            known = ', '.join(ControllerSettings.__dataclass_fields__)
            raise EANError(
                f'unknown search hyperparameter: {error}; there are {known}'
            ) from error
        super().__init__(
            num_bits,
            seed=seed,
            num_steps=self.settings.num_steps,
            masks_per_step=self.settings.masks_per_step,
        )
        self._rng_state = torch.Generator().manual_seed(seed).get_state()
        with self._random():
            self.policy = Policy(num_bits, temperature=self.settings.temperature)
            self.curiosity = Curiosity(num_bits, lr=self.settings.lr)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=self.settings.lr)
        self.baseline = MovingAverageBaseline(self.settings.baseline_decay)
        self.replay_buffer = ReplayBuffer(self.settings.replay_size)

    def ask(self) -> List[Bits]:
        """Return the masks of the next step.

        They are drawn from the policy, except for the flips of the best mask in the
        last steps, if ``polish`` is above 0 and as long as there are any.
        """
        masks = self._flips()[: self.settings.masks_per_step]
        num_draws = self.settings.masks_per_step - len(masks)
        if num_draws:
            with self._random(), torch.no_grad():
                policy = self.policy()
                for draw in policy.sample((num_draws,)).tolist():
                    mask = tuple(draw)
                    if self.settings.distinct:
                        mask = self._renewed(mask, {*self.history.told, *masks}, policy)
                    masks.append(mask)
        return masks

    def _renewed(
        self, mask: Bits, known: AbstractSet[Bits], policy: Categorical
    ) -> Bits:
        """Return a new mask in place of a known one, as long as there are any."""
        if mask not in known or len(known) == 2**self.num_bits:
            return mask
        for draw in policy.sample((MAX_REDRAWS,)).tolist():
            if tuple(draw) not in known:
                return tuple(draw)
        while mask in known:  # the policy has settled: walk away at random
            mask = _flip(mask, int(torch.randint(self.num_bits, ())))
        return mask

    def _flips(self) -> List[Bits]:
        """Return the one-bit flips of the best mask that have no reward yet.

        There are none before the last steps. Those that the policy holds for likely
        come first.
        """
        start = (1 - self.settings.polish) * self.settings.num_steps
        best = self.history.best_told()
        if not self.settings.polish or self.step < start or best is None:
            return []
        doubt = (self.policy.probabilities() - torch.tensor(best)).abs()
        bits = doubt.argsort(descending=True, stable=True).tolist()
        told = self.history.told
        return [mask for bit in bits if (mask := _flip(best, bit)) not in told]

    def tell(
        self, masks: Masks, rewards: Values, metrics: Optional[Values] = None
    ) -> Dict[str, float]:
        """Learn from the rewards of the masks that :meth:`ask` drew.

        Args:
            masks: The M masks, L bits each.
            rewards: Their rewards.
            metrics: Not used: the reward says it all.

        Returns:
            ``loss``, ``curiosity`` (the bonus) and ``baseline`` of this step; nothing
            in a step with flips, which the policy does not learn from: it did not draw
            them.
        """
        settings = self.settings
        polishes = bool(self._flips())
        step = self.step
        super().tell(masks, rewards, metrics)
        if polishes:
            return {}
        actions = torch.tensor(masks)  # (M, L)
        values = torch.tensor(rewards, dtype=torch.float32)  # (M,)

        curiosity = self.curiosity.bonus(actions) if settings.curiosity else 0.0
        returns = values + curiosity
        baseline = 0.0
        if settings.baseline:
            baseline = self.baseline.update(returns.mean().item())
        baselines: Union[float, Tensor] = baseline
        if settings.leave_one_out and len(masks) > 1:  # a single one has no others
            baselines = leave_one_out(returns)
        advantages = (returns - baselines).unsqueeze(1)  # (M, 1)

        log_prob = self.policy().log_prob(actions)  # (M, L)
        loss = -(log_prob * advantages).mean(dim=0).sum()
        self._optimize(loss)

        if settings.replay:
            probs = log_prob.detach().exp()
            self.replay_buffer.store(Transition(actions, values, probs))
            if step >= settings.replay_start:
                self._replay(baseline)
        return dict(loss=loss.item(), curiosity=curiosity, baseline=baseline)

    def _replay(self, baseline: float) -> None:
        """Make an off-policy update from a stored step."""
        with self._random():
            transition = self.replay_buffer.sample()
        log_prob = self.policy().log_prob(transition.actions)
        loss = replay_loss(log_prob, transition, baseline, self.settings.clip_coef)
        self._optimize(self.settings.replay_weight * loss)

    def _optimize(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def mode(self) -> Bits:
        """Return the policy's most likely mask."""
        return tuple((self.policy.probabilities() > 0.5).long().tolist())

    def probabilities(self) -> List[float]:
        """Return the probability of each bit to be 1."""
        return self.policy.probabilities().tolist()

    def describe(self) -> Dict[str, Any]:
        """Return the hyperparameters."""
        return asdict(self.settings)

    def state_dict(self) -> Dict[str, Any]:
        """Return all that the next :meth:`ask` depends on, as tensors and numbers."""
        return dict(
            super().state_dict(),
            policy=self.policy.state_dict(),
            optimizer=self.optimizer.state_dict(),
            curiosity=self.curiosity.state_dict(),
            curiosity_optimizer=self.curiosity.optimizer.state_dict(),
            baseline=self.baseline.value,
            replay_buffer=self.replay_buffer.state_dict(),
            rng_state=self._rng_state,
        )

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        super().load_state_dict(state)
        self.policy.load_state_dict(state['policy'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.curiosity.load_state_dict(state['curiosity'])
        self.curiosity.optimizer.load_state_dict(state['curiosity_optimizer'])
        self.baseline.value = state['baseline']
        self.replay_buffer.load_state_dict(state['replay_buffer'])
        self._rng_state = state['rng_state']

    @contextmanager
    def _random(self) -> Iterator[None]:
        """Draw from the controller's own random stream, not the process's.

        torch.distributions takes no generator, so the global one stands in.
        """
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._rng_state)
            yield
            self._rng_state = torch.get_rng_state()


def _flip(mask: Bits, bit: int) -> Bits:
    return (*mask[:bit], 1 - mask[bit], *mask[bit + 1 :])
