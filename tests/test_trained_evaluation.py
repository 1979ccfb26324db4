"""Masks that are judged by training the network with them, on real runs of digits."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, METRICS

from ean_mm import EANError, Mask
from ean_mm.search import Request, SearchSpace, TrainedEvaluation
from ean_mm.search.evaluation.base import Measurement
from ean_mm.search.evaluation.batches import short_loader
from ean_mm.search.evaluation.short_config import short_config
from ean_mm.search.evaluation.stopping import StoppingRule

SEEN = {}
"""what the hook below has seen in the trainings of each mask"""


@HOOKS.register_module(force=True)
class WatchTrainingHook(Hook):
    """Keeps the first image and the learning rate of every iteration, and the weights
    that a training begins with."""

    def before_train(self, runner):
        self.seen = []
        self.start = copy.deepcopy(runner.model.state_dict())

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        rate = runner.optim_wrapper.get_lr()['lr'][0]
        self.seen.append((data_batch['inputs'][0].clone(), rate, self.start))
        if len(self.seen) == 9:  # not the few that tell beforehand what it costs
            SEEN[str(runner.model.backbone.mask)] = self.seen


@pytest.fixture
def config(digits_config):
    """A search by training: a plain training's config and the hook."""
    cfg = digits_config
    cfg.train_cfg.max_epochs = 3
    cfg.param_scheduler = [
        dict(type='MultiStepLR', by_epoch=True, milestones=[1, 2], gamma=0.1)
    ]
    cfg.custom_hooks = [
        dict(type='MaskHook'),
        dict(
            type='EANSearchHook',
            evaluation=dict(type='TrainedEvaluation', budget=9),
            searcher=dict(type='RandomSearcher', num_steps=2, masks_per_step=2),
            reward=dict(sparsity_weight=0.0),
        ),
    ]
    SEEN.clear()
    return cfg


def search(build_runner, cfg):
    runner = build_runner(cfg)
    runner.train()
    return runner


def history(work_dir):
    lines = Path(work_dir, 'search/history.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines]


def evaluation(runner, tmp_path, **options):
    """An evaluation in a run that is ready to train."""
    runner.train_loop, runner.val_loop  # noqa: B018  (they are built when asked for)
    runner._init_model_weights()
    return TrainedEvaluation(
        runner,
        SearchSpace(runner.model),
        runner.val_loop.dataloader,
        runner.val_loop.evaluator,
        tmp_path / 'search',
        **options,
    )


def bits(text):
    return tuple(int(char) for char in text if char != '-')


def test_a_search_trains_masks_and_not_the_network(config, build_runner):
    runner = search(build_runner, config)
    assert runner.iter == 0
    records = history(config.work_dir)
    assert len(records) == 3  # two steps and the best mask, judged already
    for entry in [entry for record in records for entry in record['masks']]:
        assert entry['budget'] == 9
        assert entry['reward'] == entry['metric']
        assert 0 < entry['train_loss'] < 10 and 0 < entry['loss'] < 10
        assert len(entry['curve']) == 9
    best = max((e for r in records for e in r['masks']), key=lambda e: e['reward'])
    mask = Mask.from_file(Path(config.work_dir, 'mask_backbone.json'))
    assert dict(backbone=str(mask)) == best['mask']
    assert mask.info['found_by']['budget'] == 9
    assert [each['block'] for each in mask.info['effects']['blocks']] == [1, 2, 3] * 3


def test_masks_differ_by_the_mask_alone(config, build_runner):
    config.custom_hooks.append(dict(type='WatchTrainingHook'))
    search(build_runner, config)
    first, *others = SEEN.values()
    assert len(others) == 3 and len(first) == 9
    images = torch.stack([image for image, _, _ in first])
    assert len({image.numpy().tobytes() for image in images}) == 9
    for other in others:
        for (image, _, start), (same_image, _, same_start) in zip(first, other):
            assert torch.equal(image, same_image)
            assert all(torch.equal(start[name], same_start[name]) for name in start)


def test_the_schedule_is_that_of_the_config_at_the_budget(config, build_runner):
    config.custom_hooks.append(dict(type='WatchTrainingHook'))
    search(build_runner, config)
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


@pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])
def test_a_training_that_pauses_ends_as_one_that_does_not(
    config, build_runner, tmp_path, by_epoch
):
    config.model.backbone.drop_path_rate = 0.3  # draws random numbers
    config.custom_hooks = [dict(type='EMAHook', momentum=0.1)]
    if not by_epoch:
        config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=66)
        config.param_scheduler[0].update(by_epoch=False, milestones=[22, 44])
    runner = build_runner(config)
    mask = bits('101-010-011')
    paused = evaluation(runner, tmp_path / 'paused', budget=9, rungs=(3, 6))
    assert paused.budgets == (3, 6, 9)
    rungs = [paused.judge([Request(mask, budget)])[0] for budget in (3, 6, 9)]
    through = evaluation(runner, tmp_path / 'through', budget=9)
    assert rungs[-1] == through.judge([Request(mask, 9)])[0]
    assert [each.iterations for each in rungs] == [3, 6, 9]
    assert rungs[1].curve == rungs[2].curve[: len(rungs[1].curve)]
    assert not list((tmp_path / 'paused').rglob('*.pth'))  # none is needed any more


def test_averaged_weights_are_judged_where_a_hook_averages(
    config, build_runner, tmp_path
):
    # mmengine's average starts with the weights after the first iteration; one that
    # hardly moves stays there.
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=66)
    config.param_scheduler = []
    mask = bits('111-111-111')
    config.custom_hooks = []
    raw = evaluation(build_runner(config), tmp_path / 'raw', budget=9, rungs=(1,))
    first, last = (raw.judge([Request(mask, budget)])[0].loss for budget in (1, 9))
    config.custom_hooks = [dict(type='EMAHook', momentum=1e-12, update_buffers=True)]
    averaged = evaluation(build_runner(config), tmp_path / 'averaged', budget=9)
    measured = averaged.judge([Request(mask, 9)])[0]
    assert measured.loss == pytest.approx(first, rel=1e-6)
    assert measured.loss != pytest.approx(last, rel=1e-6)


def test_a_mask_that_diverges_is_a_bad_mask(config, build_runner):
    config.optim_wrapper.optimizer.lr = 1e9
    runner = search(build_runner, config)
    entries = [e for record in history(config.work_dir) for e in record['masks']]
    assert all(entry['diverged'] and entry['reward'] == 0 for entry in entries)
    assert runner.model.backbone.mask.bits


@METRICS.register_module()
class NumpyMetric(BaseMetric):
    """Reports numbers of NumPy's, as mmseg's IoUMetric does."""

    def process(self, data_batch, data_samples):
        self.results.append(len(data_samples))

    def compute_metrics(self, results):
        return dict(mIoU=np.float32(12.5), IoU=np.ones(3))


def test_metrics_may_be_numbers_of_numpy(config, build_runner):
    config.val_evaluator = dict(type='NumpyMetric')
    config.custom_hooks[1].reward.metric = 'mIoU'
    search(build_runner, config)
    entries = [e for record in history(config.work_dir) for e in record['masks']]
    assert {entry['metric'] for entry in entries} == {12.5}


def test_a_loss_may_be_the_reward(config, build_runner):
    config.custom_hooks[1].evaluation.measure = 'train_loss'
    search(build_runner, config)
    for record in history(config.work_dir):
        for entry in record['masks']:
            assert entry['reward'] == pytest.approx(-100 * entry['train_loss'])


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


def test_a_search_may_start_from_the_supernet_that_the_run_trains(config, build_runner):
    config.custom_hooks.insert(1, dict(type='SupernetHook'))
    config.custom_hooks[2].evaluation.start = 'supernet'
    config.custom_hooks.append(dict(type='WatchTrainingHook'))
    runner = search(build_runner, config)
    assert runner.iter == 66  # trained itself, three epochs
    trained = runner.model.state_dict()
    assert len(SEEN) >= 4
    for _, _, start in (entries[0] for entries in list(SEEN.values())[-4:]):
        torch.testing.assert_close(start['head.fc.weight'], trained['head.fc.weight'])


class Stop(Exception):
    pass


@HOOKS.register_module(force=True)
class StopAfterMasksHook(Hook):
    """Ends a run when it has trained some masks."""

    allowed = 1000

    def after_mask(self, runner, request, measurement):
        StopAfterMasksHook.allowed -= 1
        if not StopAfterMasksHook.allowed:
            raise Stop


@pytest.mark.parametrize('pruned', [False, True])
def test_a_search_goes_on_with_what_was_judged(config, build_runner, pruned):
    if pruned:
        config.custom_hooks[1].evaluation.update(
            measure='train_loss',
            rungs=(3,),
            pruner=dict(type='PercentilePruner', percentile=34.0, n_startup_trials=1),
        )
    config.custom_hooks += [
        dict(type='WatchTrainingHook'),
        dict(type='StopAfterMasksHook'),
    ]
    through = copy.deepcopy(config)
    through.work_dir += '_through'
    search(build_runner, through)
    lines = Path(through.work_dir, 'search/history.jsonl').read_bytes().splitlines()
    last_of_second_step = json.loads(lines[1])['masks'][1]['mask']['backbone']

    StopAfterMasksHook.allowed = 6 if pruned else 3  # in the second step
    with pytest.raises(Stop):
        search(build_runner, config)
    StopAfterMasksHook.allowed = 1000
    SEEN.clear()
    config.custom_hooks[1].resume = True
    search(build_runner, config)
    assert pruned or list(SEEN) == [last_of_second_step]
    resumed = Path(config.work_dir, 'search/history.jsonl').read_bytes().splitlines()
    assert resumed == lines


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(budget=1), 'a budget of 1 iterations is less than one for each of the 3'),
        (dict(measure='speed'), "measure='speed' is unknown; use metric, loss"),
        (dict(rungs=(9,)), 'a rung of 9 iterations is not below the budget of 9'),
        (dict(start='supernet'), "start='supernet', but the run starts from 'scratch'"),
        (dict(pruner=dict(type='MedianPruner')), 'a pruner stops trainings at rungs'),
        (dict(type='Trained'), "evaluation 'Trained' is unknown; use SupernetEvalu"),
        (dict(budgets=9), 'evaluation cannot be built: .*unexpected keyword'),
        (
            dict(rungs=(3,), pruner=dict(type='Pruner')),
            "Optuna has no pruner 'Pruner'",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else '',
)
def test_mistakes_are_named_before_anything_is_trained(
    config, build_runner, change, message
):
    config.custom_hooks[1].evaluation.update(change)
    config.custom_hooks.append(dict(type='WatchTrainingHook'))
    with pytest.raises(EANError, match=message):
        search(build_runner, config)
    assert not SEEN
