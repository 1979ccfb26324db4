"""What a mask's short training keeps of the run's config, and when it is stopped."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from searches import history
from trained import SEEN, bits, search, searched_by_training

from ean_mm import Mask
from ean_mm.search import Request
from ean_mm.search.evaluation.base import Measurement
from ean_mm.search.evaluation.batches import short_loader
from ean_mm.search.evaluation.short_config import short_config
from ean_mm.search.evaluation.stopping import StoppingRule


@pytest.fixture
def config(digits_config):
    return searched_by_training(digits_config)


def test_the_schedule_is_that_of_the_config_at_the_budget(config, build_runner):
    config.custom_hooks.append(dict(type='WatchTrainingHook'))
    search(build_runner, config)
    assert len(SEEN) == 4
    for seen in SEEN.values():
        rates = [rate for _, rate, _ in seen]
        assert rates == pytest.approx([0.05] * 3 + [0.005] * 3 + [0.0005] * 3)


def test_what_counts_iterations_is_scaled_and_what_counts_epochs_is_not():
    cfg = Config(
        dict(
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=10),
            param_scheduler=[
                dict(type='LinearLR', by_epoch=False, begin=0, end=100),
                dict(type='CosineAnnealingLR', by_epoch=True, T_max=10),
            ],
            custom_hooks=[
                dict(type='EMAHook', momentum=0.01, begin_iter=50),
                dict(type='mmdet.YOLOXModeSwitchHook', num_last_epochs=2),
                dict(type='SupernetHook'),
                dict(type='EarlyStoppingHook', monitor='loss'),
            ],
        )
    )
    short, length = short_config(cfg, iters_per_epoch=100, budget=200)
    assert length == 20  # a fifth
    assert short.train_cfg.max_epochs == 10
    assert short.param_scheduler[0].end == 20
    assert short.param_scheduler[1].T_max == 10
    average, switch = short.custom_hooks
    assert average.begin_iter == 10
    # after a fifth of the steps it has forgotten as much
    assert (1 - average.momentum) ** 200 == pytest.approx((1 - 0.01) ** 1000)
    assert switch.num_last_epochs == 2
    by_iter = Config(
        dict(
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=1000),
            param_scheduler=dict(type='PolyLR', by_epoch=False, begin=0, end=1000),
        )
    )
    short, length = short_config(by_iter, iters_per_epoch=7, budget=100)
    assert (length, short.train_cfg.max_iters) == (100, 100)
    assert short.param_scheduler.end == 100


@pytest.mark.parametrize('num_workers', [0, 2])
def test_batches_are_the_same_from_any_one_on(config, build_runner, num_workers):
    runner = build_runner(config)
    loader_cfg = dict(config.train_dataloader, num_workers=num_workers)
    dataset = runner.train_dataloader.dataset

    def batches(start, length, epochs):
        loader = short_loader(loader_cfg, dataset, 5, length, start)
        return [batch['inputs'] for _ in range(epochs) for batch in loader]

    through = batches(0, 7, 6)  # 42 batches, the data set has 22
    assert len(through) == 42
    in_other_epochs = batches(20, 11, 2)
    for one, same in zip(through[20:], in_other_epochs):
        assert torch.equal(one, same)
    assert not torch.equal(through[0], through[22])  # another order, the next time


def test_a_pruner_stops_masks_that_are_behind(config, build_runner):
    config.custom_hooks[1].evaluation.update(
        measure='train_loss',
        rungs=(3,),
        pruner=dict(type='PercentilePruner', percentile=34.0, n_startup_trials=1),
    )
    config.custom_hooks[1].searcher.update(num_steps=3, masks_per_step=3)
    search(build_runner, config)
    entries = [e for record in history(config.work_dir)[:3] for e in record['masks']]
    stopped = [entry for entry in entries if entry['budget'] == 3]
    assert stopped and len(stopped) < len(entries)
    assert all(entry['asked'] == 9 for entry in stopped)
    mask = Mask.from_file(Path(config.work_dir, 'mask_backbone.json'))
    assert mask.info['found_by']['budget'] == 9


def test_a_resumed_search_stops_masks_as_before(tmp_path):
    def rule():
        pruner = dict(type='PercentilePruner', percentile=34.0, n_startup_trials=1)
        return StoppingRule(pruner, tmp_path / 'stopping.json')

    def judge(rule, mask, score):
        def train(requests):
            return [Measurement({}, iterations=each.budget) for each in requests]

        requests = [Request(bits(mask), 9)]
        return rule.judge(requests, (3, 9), train, lambda _: score)[0].iterations

    assert judge(rule(), '10', 5.0) == 9  # the first
    assert judge(rule(), '01', 1.0) == 3  # behind it, by another process
    assert judge(rule(), '01', 1.0) == 3  # once more, after a kill
    assert judge(rule(), '11', 6.0) == 9
