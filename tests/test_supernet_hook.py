from collections import Counter

import pytest
import torch
from mmengine.runner import Runner

from ean_mm import EANError, EANResNetCIFAR, Mask, SupernetHook
from ean_mm.search import SearchSpace


@pytest.fixture
def supernet_config(digits_config):
    digits_config.custom_hooks = [dict(type='MaskHook'), dict(type='SupernetHook')]
    return digits_config


class Masks:
    """Collects the mask of every forward pass of a runner's backbone."""

    def __init__(self, runner: Runner) -> None:
        self.training, self.validation = [], []
        runner.model.backbone.register_forward_pre_hook(self)

    def __call__(self, backbone, args):
        (self.training if backbone.training else self.validation).append(backbone.mask)


def train(build_runner, config):
    runner = build_runner(config)
    masks = Masks(runner)
    runner.train()
    return runner, masks


def test_every_iteration_has_its_own_random_mask(supernet_config, build_runner):
    _, masks = train(build_runner, supernet_config)
    assert len(masks.training) == 22
    assert len(set(masks.training)) >= 18
    share = sum(mask.num_connections for mask in masks.training) / (22 * 9)
    assert 0.35 < share < 0.65


def test_masks_come_from_seed_and_iteration(supernet_config, build_runner):
    _, first = train(build_runner, supernet_config)
    _, again = train(build_runner, supernet_config)
    assert again.training == first.training
    supernet_config.randomness.seed = 1
    _, other = train(build_runner, supernet_config)
    assert other.training != first.training


def test_a_resumed_run_draws_what_the_undisturbed_one_does(
    supernet_config, build_runner
):
    supernet_config.train_cfg.max_epochs = 2
    _, through = train(build_runner, supernet_config)
    supernet_config.resume = True
    supernet_config.load_from = f'{supernet_config.work_dir}/epoch_1.pth'
    supernet_config.randomness.seed = None  # the checkpoint has it
    _, resumed = train(build_runner, supernet_config)
    assert resumed.training == through.training[22:]


@pytest.mark.parametrize('p, connections', [(0.0, 0), (1.0, 9)])
def test_bit_probability_is_configurable(supernet_config, build_runner, p, connections):
    supernet_config.custom_hooks[1].p = p
    _, masks = train(build_runner, supernet_config)
    assert {mask.num_connections for mask in masks.training} == {connections}


def test_balanced_masks_have_every_number_of_bits_and_every_block_equally_often():
    space = SearchSpace(
        EANResNetCIFAR(depth=20, attention=dict(type='SEAttention', ratio=4))
    )
    generator = torch.Generator().manual_seed(0)
    masks = [space.balanced(generator) for _ in range(5000)]
    numbers = Counter(map(sum, masks))
    # 500 of each expected, give or take 21: within four standard deviations
    assert set(numbers) == set(range(10))
    assert all(415 < number < 585 for number in numbers.values())
    assert all(2350 < sum(bits) < 2650 for bits in zip(*masks))
    # Of the masks with one bit, each has its share, which the order of bits decides.
    ones = Counter(mask.index(1) for mask in masks if sum(mask) == 1)
    assert len(ones) == 9 and all(25 < number < 90 for number in ones.values())


def test_a_supernet_trains_with_balanced_masks(supernet_config, build_runner):
    supernet_config.custom_hooks[1].sampling = 'balanced'
    runner, masks = train(build_runner, supernet_config)
    hook = next(h for h in runner.hooks if isinstance(h, SupernetHook))
    drawn = []
    for iteration in range(22):
        runner.train_loop._iter = iteration
        drawn.append(Mask(hook.draw(runner), (3, 3, 3)))
    assert masks.training == drawn
    # Bit by bit, 22 masks have fewer than two or more than seven bits once in a while;
    # balanced ones in four of ten.
    ends = [m for m in drawn if not 2 <= m.num_connections <= 7]
    assert len(ends) >= 4


def test_the_sandwich_rule_takes_turns(supernet_config, build_runner):
    supernet_config.custom_hooks[1].sampling = 'sandwich'
    _, masks = train(build_runner, supernet_config)
    bits = [mask.num_connections for mask in masks.training]
    assert bits[0::4] == [0] * 6 and bits[1::4] == [9] * 6
    others = [mask for turn in (2, 3) for mask in masks.training[turn::4]]
    assert len(set(others)) >= 8


def test_a_mask_for_validation_that_does_not_fit_is_refused_before_training(
    supernet_config, build_runner
):
    supernet_config.custom_hooks[1].val_mask = '110-010'
    runner = build_runner(supernet_config)
    with pytest.raises(EANError, match='does not fit stages of 3-3-3 blocks'):
        runner.train()
    assert runner.iter == 0


@pytest.mark.parametrize('val_mask', ['none', '110-010-001'])
def test_validation_has_its_own_mask(supernet_config, build_runner, val_mask):
    supernet_config.custom_hooks[1].val_mask = val_mask
    _, masks = train(build_runner, supernet_config)
    assert set(masks.validation) == {Mask.parse(val_mask, (3, 3, 3))}


def test_checkpoints_say_that_they_hold_a_supernet(supernet_config, build_runner):
    train(build_runner, supernet_config)
    path = f'{supernet_config.work_dir}/epoch_1.pth'
    assert torch.load(path, weights_only=True)['meta']['ean_mm']['supernet'] is True


def test_ranks_with_seeds_of_their_own_take_the_first_ranks(
    supernet_config, build_runner, monkeypatch
):
    def from_rank_zero(data):
        data[0] = 0

    hook = 'ean_mm.hooks.supernet_hook.broadcast_object_list'
    _, first = train(build_runner, supernet_config)
    monkeypatch.setattr(hook, from_rank_zero)
    supernet_config.randomness.seed = 1
    _, second = train(build_runner, supernet_config)
    assert second.training == first.training


def test_a_wrong_probability_is_refused():
    with pytest.raises(ValueError, match='p=2 is no probability'):
        SupernetHook(p=2)


def test_an_unknown_sampling_is_refused():
    with pytest.raises(EANError, match="'fair' is unknown; use independent, balanced"):
        SupernetHook(sampling='fair')
