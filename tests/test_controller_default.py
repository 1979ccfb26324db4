"""The default preset: what it does differently from the published setting."""

import io
import itertools

import pytest
import torch

from ean_mm import EANError
from ean_mm.search import RLController
from ean_mm.search.strategies.baseline import leave_one_out
from simulator import SimulatedReward

PLAIN = dict(curiosity=False, replay=False)


def matches(target):
    return lambda mask: float(sum(a == b for a, b in zip(mask, target)))


def advance(controller, reward, steps=None):
    """Let a controller search; return the masks of each step."""
    asked = []
    for _ in range(steps or controller.num_steps):
        masks = controller.ask()
        controller.tell(masks, [reward(mask) for mask in masks])
        asked.append(masks)
    return asked


def distance(first, second):
    return sum(a != b for a, b in zip(first, second))


def test_it_is_the_preset_unless_another_is_named():
    settings = RLController(16).settings
    assert settings == RLController(16, preset='default').settings
    assert settings != RLController(16, preset='paper').settings
    # as many masks as the published setting draws
    assert settings.num_steps * settings.masks_per_step == 900


def test_the_baseline_of_a_mask_is_the_mean_of_the_others():
    returns = torch.tensor([1.0, 2.0, 6.0])
    assert leave_one_out(returns).tolist() == [4.0, 3.5, 1.5]


def test_one_step_is_reinforce_with_that_baseline():
    controller = RLController(
        4, preset='paper', leave_one_out=True, temperature=1.0, **PLAIN
    )
    masks = [(1, 0, 1, 0), (0, 0, 1, 1), (1, 1, 1, 1)]
    p = controller.policy.probabilities()
    expected = torch.zeros(4)
    for mask, advantage in zip(masks, (10.0 - 40.0, 20.0 - 35.0, 60.0 - 15.0)):
        # d log p(bit) / d logit difference of the bit = bit - p
        expected -= (torch.tensor(mask) - p) * advantage / 3
    controller.tell(masks, [10.0, 20.0, 60.0])
    gradient = controller.policy.layers[2].bias.grad.view(4, 2)[:, 1]
    torch.testing.assert_close(gradient, expected)


def test_no_mask_is_drawn_twice_while_there_are_others():
    controller = RLController(5, polish=0.0, masks_per_step=4)
    steps = advance(controller, matches((1, 0, 1, 0, 1)), 8)
    drawn = sorted(itertools.chain(*steps))
    assert drawn == list(itertools.product((0, 1), repeat=5))
    assert len(controller.ask()) == 4  # again, as none is left


def test_a_settled_policy_still_draws_new_masks():
    controller = RLController(12, polish=0.0)
    with torch.no_grad():
        controller.policy.layers[2].weight.zero_()
        controller.policy.layers[2].bias.view(12, 2)[:, 1] = 1000.0
        controller.policy.layers[2].bias.view(12, 2)[:, 0] = 0.0
    masks = [*controller.ask(), *controller.ask()]
    assert masks[0] == (1,) * 12
    assert len(set(masks[:6])) == 6
    # near to where the policy is, one random flip after the other
    assert all(distance(mask, (1,) * 12) <= 5 for mask in masks)


def test_the_last_steps_flip_single_bits_of_the_best_mask():
    reward = matches((1, 0) * 10)
    controller = RLController(20, num_steps=10, polish=0.5)
    seen = {}
    for step, masks in enumerate(advance(controller, reward)):
        if step >= 5:
            best = max(seen, key=seen.get)
            assert [distance(mask, best) for mask in masks] == [1] * 6
        seen.update({mask: reward(mask) for mask in masks})


def test_polishing_starts_with_the_bits_that_the_policy_would_rather_flip():
    controller = RLController(4, num_steps=2, masks_per_step=2, polish=0.5)
    controller.tell([(0, 0, 0, 0), (1, 1, 1, 1)], [2.0, 1.0])
    controller.policy.probabilities = lambda: torch.tensor([0.1, 0.7, 0.2, 0.4])
    assert controller.ask() == [(0, 1, 0, 0), (0, 0, 0, 1)]


def test_it_draws_again_once_no_flip_improves():
    reward = matches((1,) * 6)
    controller = RLController(6, num_steps=6, masks_per_step=4, polish=1.0)
    controller.tell([(1,) * 6], [6.0])
    flips = sum(advance(controller, reward, 2), [])
    assert sorted(flips[:6]) == sorted(
        tuple(int(i != bit) for i in range(6)) for bit in range(6)
    )
    masks = controller.ask()
    assert len({*masks, *flips, (1,) * 6}) == 4 + 8 + 1


def test_the_policy_learns_nothing_from_flips():
    reward = matches((1, 0) * 10)
    controller = RLController(20, num_steps=4, polish=0.5)
    advance(controller, reward, 2)
    before = controller.probabilities()
    masks = controller.ask()
    assert controller.tell(masks, [reward(mask) for mask in masks]) == {}
    assert controller.probabilities() == before
    assert controller.step == 3


@pytest.mark.parametrize('steps', [0, 4, 13])
def test_it_continues_exactly_from_its_state(steps):
    """Before the first step, while it draws, and while it polishes."""
    reward = matches((1, 0) * 8)
    through = RLController(16, seed=2, num_steps=20)
    if steps:
        advance(through, reward, steps)
    file = io.BytesIO()
    torch.save(through.state_dict(), file)
    expected = advance(through, reward, 7)
    file.seek(0)
    resumed = RLController(16, seed=99, num_steps=20)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert advance(resumed, reward, 7) == expected
    assert resumed.probabilities() == through.probabilities()


def test_the_metrics_change_nothing():
    first, second = RLController(6), RLController(6)
    masks = first.ask()
    assert second.ask() == masks
    rewards = [float(sum(mask)) for mask in masks]
    assert first.tell(masks, rewards) == second.tell(masks, rewards, [50.0] * 6)
    assert first.ask() == second.ask()


@pytest.mark.parametrize('num_bits', [9, 16])
def test_it_finds_the_best_mask_of_simulated_rewards(num_bits):
    """On 5 problems of 900 evaluations; at 9 bits there are no more than 512 masks."""
    for seed in range(5):
        problem = SimulatedReward(num_bits, seed=seed)
        steps = advance(RLController(num_bits, seed=seed), problem)
        assert problem.best_mask in itertools.chain(*steps)


@pytest.mark.slow
def test_it_has_less_regret_than_the_published_setting_at_54_bits():
    regrets = {}
    for preset in ('paper', 'default'):
        total = 0.0
        for seed in range(3):
            problem = SimulatedReward(54, seed=seed)
            controller = RLController(54, seed=seed, preset=preset)
            masks = itertools.chain(*advance(controller, problem))
            best = max(problem(mask) for mask in (*masks, controller.mode()))
            total += problem.best_reward - best
        regrets[preset] = total / 3
    assert regrets['default'] < regrets['paper']


def test_mistakes_are_named():
    with pytest.raises(EANError, match='polish=2 is no share'):
        RLController(9, polish=2)
    with pytest.raises(EANError, match='leave_one_out=True needs masks_per_step'):
        RLController(9, masks_per_step=1)
