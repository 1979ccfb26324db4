"""The images that masks are rewarded on, and what is calibrated on others."""

import copy
import logging

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, RepeatDataset
from mmengine.registry import DATASETS
from searches import history
from torch.utils.data import TensorDataset

from ean_mm import EANError, HeldOutSplit
from ean_mm.datasets import DigitsDataset
from ean_mm.search import BNCalibration
from ean_mm.search.evaluation.calibration import draw_batches
from ean_mm.search.evaluation.reward_set import refuse_overlap


def test_an_empty_reward_set_is_refused(digits_config, build_runner, monkeypatch):
    monkeypatch.setattr(HeldOutSplit, '__len__', lambda self: 0)
    digits_config.train_dataloader.dataset = dict(
        type='DigitsDataset', pipeline=digits_config.train_pipeline
    )
    runner = build_runner(digits_config)
    with pytest.raises(EANError, match='reward set is empty'):
        runner.train()
    assert runner.iter == 0


def test_reward_images_that_are_trained_on_are_refused(digits_config, build_runner):
    digits_config.train_dataloader.dataset.num_per_class = 6
    with pytest.raises(EANError, match='reward images are trained on'):
        build_runner(digits_config).train()


def test_a_supernet_that_trains_on_all_images_is_refused(digits_config, build_runner):
    digits_config.train_dataloader.dataset = dict(
        type='DigitsDataset', pipeline=digits_config.train_pipeline
    )
    with pytest.raises(EANError, match='50 of the 50 reward images are trained on'):
        build_runner(digits_config).train()


def test_duplicates_across_a_split_are_warned_of(
    digits_config, build_runner, monkeypatch, capsys
):
    """No number or seed of the split would part them all."""
    load = DigitsDataset.load_data_list

    def load_with_duplicates(self):
        data = load(self)
        for info in data:
            if info['gt_label'] == 1:
                info['img'] = np.full_like(info['img'], 7)
        return data

    monkeypatch.setattr(DigitsDataset, 'load_data_list', load_with_duplicates)
    digits_config.val_dataloader.dataset.num_per_class = 1
    digits_config.train_dataloader.dataset.num_per_class = 1
    build_runner(digits_config).train()
    assert '1 of the 10 reward images have a duplicate' in capsys.readouterr().out


class Named(BaseDataset):
    """Images that ``ann_file`` says how to name."""

    def load_data_list(self):
        names = [{self.ann_file: f'{i}.x'} if self.ann_file else {} for i in range(20)]
        return [dict(name, gt_label=i % 2) for i, name in enumerate(names)]


@pytest.mark.parametrize('name', ['img_path', 'key', ''])
def test_images_are_compared_by_what_is_known_of_them(name):
    DATASETS.register_module(module=Named, force=True)
    split = dict(
        type='HeldOutSplit', dataset=dict(type='Named', ann_file=name), num_images=5
    )
    train, held_out = (DATASETS.build(dict(split, held_out=h)) for h in (False, True))
    logger = logging.getLogger('test')
    refuse_overlap(train, held_out, logger)
    refuse_overlap(RepeatDataset(dict(split, held_out=False), 2), held_out, logger)
    numbers = TensorDataset(torch.arange(20))
    refuse_overlap(numbers, numbers, logger)  # cannot be told
    if name:
        whole = DATASETS.build(dict(type='Named', ann_file=name))
        with pytest.raises(EANError, match='5 of the 5 reward images are trained on'):
            refuse_overlap(whole, held_out, logger)
    if name == 'img_path':
        with pytest.raises(EANError, match='5 of the 10 reward images are trained on'):
            twice = RepeatDataset(dict(split, held_out=True), 2)
            refuse_overlap(held_out, twice, logger)


def test_other_images_at_the_same_places_are_no_overlap(digits_config, build_runner):
    digits_config.val_dataloader.dataset.dataset.split = 'test'
    build_runner(digits_config).train()
    assert len(history(digits_config.work_dir)) == 5


def test_without_any_reward_set_training_does_not_start(digits_config, build_runner):
    digits_config.val_dataloader = None
    digits_config.val_cfg = None
    digits_config.val_evaluator = None
    runner = build_runner(digits_config)
    with pytest.raises(EANError, match='no reward set'):
        runner.train()
    assert runner.iter == 0


def test_bn_calibration_changes_rewards_and_leaves_the_supernet(
    digits_config, build_runner
):
    build_runner(digits_config).train()
    plain = history(digits_config.work_dir)
    digits_config.load_from = f'{digits_config.work_dir}/epoch_1.pth'
    digits_config.train_cfg.max_epochs = 0
    digits_config.param_scheduler = None
    digits_config.custom_hooks[2].calibration_batches = 4
    results = []
    for name in ('_a', '_b'):
        digits_config.work_dir += name
        runner = build_runner(digits_config)
        runner.train()
        results.append(history(digits_config.work_dir))
    assert results[0] == results[1]  # the same batches every time
    assert results[0] != plain
    saved = torch.load(digits_config.load_from, weights_only=True)['state_dict']
    for name, tensor in runner.model.state_dict().items():
        assert torch.equal(tensor, saved[name]), name


def test_calibrated_statistics_are_those_of_the_batches(digits_config, build_runner):
    runner = build_runner(digits_config)
    batches = draw_batches(runner.train_dataloader, 3)
    model = runner.model
    model.backbone.set_mask('100-010-001')
    expected = copy.deepcopy(model)
    inputs = [model.data_preprocessor(batch, False)['inputs'] for batch in batches]
    torch.optim.swa_utils.update_bn(inputs, expected)
    before = copy.deepcopy(model.state_dict())
    calibration = BNCalibration(model, batches)
    calibration.adapt()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, expected.state_dict()[name], msg=name)
    calibration.restore()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
