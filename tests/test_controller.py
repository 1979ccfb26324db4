"""The controller against the method's formulas, and what it learns."""

import copy
import io
import math

import pytest
import torch

from ean_mm.search import Curiosity, Policy, RLController
from ean_mm.search.strategies.baseline import MovingAverageBaseline
from ean_mm.search.strategies.replay import Transition, replay_loss


def run(controller, reward, steps=None):
    """Let a controller search; return every mask with its reward."""
    seen = {}
    for _ in range(steps or controller.num_steps):
        masks = controller.ask()
        rewards = [reward(mask) for mask in masks]
        seen.update(zip(masks, rewards))
        controller.tell(masks, rewards)
    return seen


def matches(target):
    return lambda mask: float(sum(a == b for a, b in zip(mask, target)))


def test_the_paper_preset_has_the_published_hyperparameters():
    settings = RLController(16, preset='paper').settings
    assert (settings.num_steps, settings.masks_per_step) == (300, 3)
    assert (settings.lr, settings.temperature) == (0.05, 5.0)
    assert settings.baseline_decay == 0.95
    assert (settings.replay_size, settings.replay_start) == (30, 10)
    assert (settings.replay_weight, settings.clip_coef) == (0.1, 0.1)


def test_policy_has_the_published_shape():
    policy = Policy(16)
    assert [tuple(p.shape) for p in policy.parameters()] == [
        (50, 20), (50,), (32, 50), (32,)]  # fmt: skip


def test_a_bit_has_the_probability_of_its_two_logits_at_the_temperature():
    """From an input of zeros, through a hidden layer whose negative units are shut."""
    policy = Policy(2, temperature=5.0)
    first, first_bias, second, second_bias = policy.parameters()
    with torch.no_grad():
        first.fill_(7.0)  # of an input that is zero
        first_bias.fill_(-1.0)
        first_bias[0] = 2.0
        second.fill_(3.0)
        second[:, 0] = torch.tensor([0.0, 2.5, 0.0, 0.0]) * math.log(3)
        second_bias.copy_(torch.tensor([0.0, 0.0, 5.0, 0.0]) * math.log(4))
    # logits of 0 and 5 ln 3 for the first bit, of 5 ln 4 and 0 for the second
    expected = torch.tensor([3 / 4, 1 / 5])
    torch.testing.assert_close(policy.probabilities(), expected)
    torch.testing.assert_close(policy().probs[:, 1], expected)


def test_curiosity_has_the_published_shape():
    curiosity = Curiosity(16, lr=0.05)
    shapes = [tuple(p.shape) for p in curiosity.target.parameters()]
    assert shapes == [(32, 16), (32,), (32, 32), (32,), (64, 32), (64,)]
    shapes = [tuple(p.shape) for p in curiosity.predictor.parameters()]
    assert shapes == [(32, 16), (32,), (64, 32), (64,)]


def test_the_bonus_is_the_squared_error_summed_over_masks_and_outputs():
    curiosity = Curiosity(16, lr=0.05)
    for network, output in ((curiosity.target, 3.0), (curiosity.predictor, 1.0)):
        for parameter in network.parameters():
            torch.nn.init.zeros_(parameter)
        torch.nn.init.constant_(network[-1].bias, output)
    # three masks, 64 outputs, an error of 2 each
    assert curiosity.bonus(torch.randint(2, (3, 16))) == 3 * 64 * 4


def test_curiosity_falls_for_masks_that_it_has_seen_and_for_no_others():
    curiosity = Curiosity(16, lr=0.05)
    seen = torch.zeros(3, 16, dtype=torch.long)
    seen[:, :8] = torch.randint(2, (3, 8))
    new = 1 - seen
    fixed = copy.deepcopy(curiosity.target.state_dict())
    unseen = curiosity.bonus(new)
    bonuses = [curiosity.bonus(seen) for _ in range(40)]
    assert bonuses[-1] < 0.1 * bonuses[0]
    assert curiosity.bonus(new) > 0.5 * unseen > 5 * bonuses[-1]
    for name, value in curiosity.target.state_dict().items():
        assert torch.equal(value, fixed[name])


def test_one_step_is_reinforce_with_the_moving_baseline():
    """The gradient of -sum over bits of mean over masks (log p * advantage)."""
    controller = RLController(5, seed=1, preset='paper', curiosity=False, replay=False)
    masks = [(1, 0, 1, 0, 0), (0, 0, 1, 1, 0), (1, 1, 1, 1, 1)]
    for rewards in ([10.0, 20.0, 60.0], [5.0, 7.0, 30.0]):
        first = controller.baseline.value is None
        baseline = 30.0 if first else 0.95 * 30.0 + 0.05 * 14.0
        p = controller.policy.probabilities()
        expected = torch.zeros(5)
        for mask, reward in zip(masks, rewards):
            # d log p(bit) / d logit difference of the bit = bit - p
            expected -= (torch.tensor(mask) - p) * (reward - baseline) / 3

        logits = controller.policy.layers[2].bias.detach().clone()
        step = controller.optimizer.step

        def inspect(expected=expected, step=step):
            gradient = controller.policy.layers[2].bias.grad.view(5, 2)[:, 1]
            torch.testing.assert_close(gradient, expected / 5.0)  # temperature
            step()

        controller.optimizer.step = inspect
        facts = controller.tell(masks, rewards)
        controller.optimizer.step = step
        assert facts['baseline'] == pytest.approx(baseline)
        assert not torch.equal(logits, controller.policy.layers[2].bias)


def test_the_baseline_starts_at_the_first_mean_and_moves_slowly():
    baseline = MovingAverageBaseline(decay=0.95)
    assert baseline.update(30.0) == pytest.approx(30.0)
    assert baseline.update(10.0) == pytest.approx(0.95 * 30 + 0.05 * 10)


@pytest.mark.parametrize(
    'reward, loss, gradient',
    [
        # advantage 2: the sum of unclipped terms is the lower one
        (4.5, 2.180125, [-4.0, -4.0]),
        # advantage -2: the other one, and its gradient is not zero as PPO's is
        (0.5, -2.140239, [2.75, 4.5]),
    ],
)
def test_replay_is_the_authors_form(reward, loss, gradient):
    """-min(sum(ratio log p A), sum(clip(ratio) log p A)) / masks, with ratio fixed.

    Bits of probability 0.5 once, and 0.8 and 0.4 now: ratios of 1.6 and 0.8, clipped to
    1.1 and 0.9. For an advantage of 2 the sums are 2 (1.6 ln 0.8 + 0.8 ln 0.4) =
    -2.180125 and 2 (1.1 ln 0.8 + 0.9 ln 0.4) = -2.140239.
    """
    now = torch.tensor([[0.8, 0.4]], requires_grad=True)
    transition = Transition(
        torch.ones(1, 2), torch.tensor([reward]), torch.full((1, 2), 0.5)
    )
    found = replay_loss(now.log(), transition, baseline=2.5, clip_coef=0.1)
    found.backward()
    assert found.item() == pytest.approx(loss, abs=1e-5)
    assert now.grad.tolist() == [pytest.approx(gradient)]


def test_replay_takes_one_minimum_over_all_masks_and_their_mean():
    """Minima mask by mask would be -2.180125 and +2.140239, and cancel but for 0.02."""
    now = torch.tensor([[0.8, 0.4]] * 2).log()
    transition = Transition(
        torch.ones(2, 2), torch.tensor([4.5, 0.5]), torch.full((2, 2), 0.5)
    )
    loss = replay_loss(now, transition, baseline=2.5, clip_coef=0.1)
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_replay_waits_for_its_first_step():
    """Until then the policy learns as it does without replay."""
    pair = [
        RLController(6, preset='paper', replay_start=3, replay=replay)
        for replay in (True, False)
    ]
    for step in range(4):
        for controller in pair:
            masks = [(1, 0, 1, 0, 1, 0), (0,) * 6, (1,) * 6]
            controller.tell(masks, [1.0, 2.0, 3.0])
        replayed, not_replayed = (each.probabilities() for each in pair)
        assert (replayed == not_replayed) == (step < 3)


def test_replay_keeps_the_last_steps_without_curiosity():
    controller = RLController(6, replay_size=4, preset='paper')
    for step in range(7):
        controller.tell(controller.ask(), [float(step)] * 3)
    stored = [entry.rewards.tolist() for entry in controller.replay_buffer.transitions]
    assert stored == [[3.0] * 3, [4.0] * 3, [5.0] * 3, [6.0] * 3]


@pytest.mark.parametrize('off', ['curiosity', 'baseline', 'replay'])
def test_each_part_can_be_switched_off(off):
    controller = RLController(6, **{off: False}, preset='paper')
    facts = [controller.tell(controller.ask(), [1.0, 2.0, 3.0]) for _ in range(15)]
    if off == 'curiosity':
        assert all(fact['curiosity'] == 0 for fact in facts)
    if off == 'baseline':
        assert all(fact['baseline'] == 0 for fact in facts)
    if off == 'replay':
        assert len(controller.replay_buffer) == 0


@pytest.mark.parametrize('num_bits, at_least', [(9, 5), (16, 4)])
def test_it_finds_the_best_mask_of_a_known_reward(num_bits, at_least):
    """Of 5 seeds; at 16 bits the published setting settles too early at times."""
    target = tuple(int(i % 3 != 0) for i in range(num_bits))
    found = 0
    for seed in range(5):
        seen = run(RLController(num_bits, seed=seed), matches(target))
        found += max(seen, key=seen.get) == target
    assert found >= at_least


def test_it_learns_more_than_random_masks_show():
    """At 40 bits random masks are hopeless: about 28 of 40 matches in 900 draws."""
    target = tuple(int(i % 3 != 0) for i in range(40))
    controller = RLController(40, seed=0)
    run(controller, matches(target))
    assert matches(target)(controller.mode()) >= 36


def test_the_sequence_depends_on_the_seed_and_rewards_alone():
    reward = matches((1,) * 12)
    first = run(RLController(12, seed=5), reward, 20)
    torch.manual_seed(123)
    torch.rand(7)
    before = torch.get_rng_state()
    assert list(run(RLController(12, seed=5), reward, 20)) == list(first)
    assert torch.equal(torch.get_rng_state(), before)
    assert list(run(RLController(12, seed=6), reward, 20)) != list(first)


def test_it_continues_exactly_from_its_state():
    reward = matches((1, 0) * 6)
    through = RLController(12, seed=2)
    run(through, reward, 15)
    file = io.BytesIO()
    torch.save(through.state_dict(), file)
    expected = run(through, reward, 15)
    file.seek(0)
    resumed = RLController(12, seed=99)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert run(resumed, reward, 15) == expected
    assert resumed.probabilities() == through.probabilities()


def test_unknown_settings_are_named():
    with pytest.raises(ValueError, match="preset 'best' is unknown; use paper"):
        RLController(9, preset='best')
    with pytest.raises(ValueError, match='temprature.*temperature'):
        RLController(9, temprature=1.0)
