"""The controller against the method's formulas, and what it learns."""

import io

import pytest
import torch

from ean_mm.search import Curiosity, Policy, RLController


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
    assert RLController(16).settings == settings


def test_policy_has_the_published_shape():
    policy = Policy(16)
    assert [tuple(p.shape) for p in policy.parameters()] == [
        (50, 20), (50,), (32, 50), (32,)]  # fmt: skip
    logits = policy.layers(torch.zeros(20)).view(16, 2) / 5.0
    torch.testing.assert_close(policy().probs, logits.softmax(1))
    torch.testing.assert_close(policy.probabilities(), logits.softmax(1)[:, 1])


def test_curiosity_falls_for_masks_it_has_seen():
    curiosity = Curiosity(16, lr=0.05)
    shapes = [tuple(p.shape) for p in curiosity.target.parameters()]
    assert shapes == [(32, 16), (32,), (32, 32), (32,), (64, 32), (64,)]
    assert not any(p.requires_grad for p in curiosity.target.parameters())
    masks = torch.randint(2, (3, 16))
    expected = (
        curiosity.predictor(masks.float()) - curiosity.target(masks.float())
    ).square().sum()  # fmt: skip
    bonuses = [curiosity.bonus(masks) for _ in range(40)]
    assert bonuses[0] == pytest.approx(expected.item())
    assert bonuses[-1] < 0.1 * bonuses[0]


def test_one_step_is_reinforce_with_the_moving_baseline():
    """The gradient of -sum over bits of mean over masks (log p * advantage)."""
    controller = RLController(5, seed=1, curiosity=False, replay=False)
    masks = [(1, 0, 1, 0, 0), (0, 0, 1, 1, 0), (1, 1, 1, 1, 1)]
    for rewards in ([10.0, 20.0, 60.0], [5.0, 7.0, 30.0]):
        baseline = 30.0 if controller.baseline is None else 0.95 * 30.0 + 0.05 * 14.0
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


def test_replay_is_the_authors_form():
    """-0.1 * min(sum(ratio log p A), sum(clip(ratio) log p A)) / masks, ratio fixed."""
    controller = RLController(4, seed=3, curiosity=False, replay_start=0, lr=0.3)
    losses = []
    optimize = controller._optimize

    def record(loss):
        losses.append(loss.item())
        optimize(loss)

    controller._optimize = record
    masks, rewards = [(1, 0, 1, 0), (0, 0, 1, 1), (1, 1, 1, 1)], [1.0, 5.0, 3.0]
    p_then = controller.policy().probs
    then = [[p_then[i, bit].item() for i, bit in enumerate(mask)] for mask in masks]
    controller.settings = type(controller.settings)(curiosity=False, replay_start=99)
    controller.tell(masks, rewards)  # on-policy only; the step is stored
    p_now = controller.policy().probs
    controller._replay()
    plain = clipped = 0.0
    for mask, reward, old in zip(masks, rewards, then):
        for i, bit in enumerate(mask):
            now = p_now[i, bit].item()
            ratio = now / old[i]
            value = torch.tensor(now).log().item() * (reward - controller.baseline)
            plain += ratio * value
            clipped += min(max(ratio, 0.9), 1.1) * value
    assert plain != pytest.approx(clipped)
    assert losses[-1] == pytest.approx(-0.1 * min(plain, clipped) / 3, rel=1e-4)


def test_replay_keeps_the_last_steps_without_curiosity():
    controller = RLController(6, replay_size=4)
    for step in range(7):
        controller.tell(controller.ask(), [float(step)] * 3)
    stored = [entry['rewards'].tolist() for entry in controller.replay_buffer]
    assert stored == [[3.0] * 3, [4.0] * 3, [5.0] * 3, [6.0] * 3]


@pytest.mark.parametrize('off', ['curiosity', 'baseline', 'replay'])
def test_each_part_can_be_switched_off(off):
    controller = RLController(6, **{off: False})
    facts = [controller.tell(controller.ask(), [1.0, 2.0, 3.0]) for _ in range(15)]
    if off == 'curiosity':
        assert all(fact['curiosity'] == 0 for fact in facts)
    if off == 'baseline':
        assert controller.baseline is None
    if off == 'replay':
        assert controller.replay_buffer == []


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
