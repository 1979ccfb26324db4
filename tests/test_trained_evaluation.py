"""Masks that are judged by training the network with them, on real runs of digits."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, METRICS
from searches import history, judged_masks
from trained import SEEN, bits, search, searched_by_training

from ean_mm import EANError, Mask
from ean_mm.search import Request, SearchSpace, TrainedEvaluation


@pytest.fixture
def config(digits_config):
    return searched_by_training(digits_config)


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
    search(build_runner, config)
    entries = judged_masks(config.work_dir)
    assert all(entry['diverged'] and entry['reward'] == 0 for entry in entries)


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
    entries = judged_masks(config.work_dir)
    assert {entry['metric'] for entry in entries} == {12.5}


def test_a_loss_may_be_the_reward(config, build_runner):
    config.custom_hooks[1].evaluation.measure = 'train_loss'
    search(build_runner, config)
    for entry in judged_masks(config.work_dir):
        assert entry['reward'] == pytest.approx(-100 * entry['train_loss'])


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
