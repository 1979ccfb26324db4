"""Hosts read and set a data set's attributes through what stands in for it."""

import copy
import pickle

import numpy as np
import pytest
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from mmpretrain.datasets import KFoldDataset
from mmpretrain.engine import ClassNumCheckHook

from ean_mm import EANError, HeldOutSplit
from ean_mm.datasets import DatasetStandIn, DigitsDataset

DIGITS = dict(type='DigitsDataset', split='train')
TEST_DIGITS = dict(type='DigitsDataset', split='test')
WIDER = [dict(type='Pad', size=(10, 10)), dict(type='PackInputs')]


def split(dataset=DIGITS, held_out=True, num_images=40):
    return HeldOutSplit(dataset, held_out=held_out, num_images=num_images)


class RecordSizesHook(Hook):
    """Notes the size of the images of every epoch."""

    def __init__(self):
        self.sizes = {}

    def before_train_iter(self, runner, batch_idx, data_batch):
        (size,) = {tuple(image.shape[1:]) for image in data_batch['inputs']}
        self.sizes.setdefault(runner.epoch, set()).add(size)


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize(
    'hook',
    [
        dict(type='mmdet.PipelineSwitchHook', switch_epoch=1, switch_pipeline=WIDER),
        dict(
            type='mmpretrain.SwitchRecipeHook',
            schedule=[dict(action_epoch=2, train_pipeline=WIDER)],
        ),
    ],
    ids=lambda hook: hook['type'],
)
def test_a_hook_that_switches_the_pipeline_switches_it(
    digits_config, build_runner, hook, workers
):
    pytest.importorskip('mmdet.engine')
    digits_config.train_dataloader.update(
        batch_size=512, num_workers=workers, persistent_workers=workers > 0
    )
    digits_config.train_cfg.update(max_epochs=2, val_interval=10)
    digits_config.custom_hooks = [hook]
    runner, record = build_runner(digits_config), RecordSizesHook()
    runner.register_hook(record)
    runner.train()
    assert record.sizes == {0: {(8, 8)}, 1: {(10, 10)}}


def test_mixing_transforms_are_switched_off_behind_a_split():
    mmdet = pytest.importorskip('mmdet.datasets')
    mixed = mmdet.MultiImageMixDataset(
        dict(type='HeldOutSplit', dataset=DIGITS, held_out=True, num_images=40),
        [dict(type='Pad', size=(10, 10))],
    )
    around = DatasetStandIn(mixed)
    assert around[0]['img'].shape[:2] == (10, 10)
    around.update_skip_type_keys(['Pad'])  # as YOLOXModeSwitchHook does
    assert around[0]['img'].shape[:2] == (8, 8)


def test_what_is_set_and_deleted_is_the_inner_ones():
    outer = split()
    outer.test_mode = outer.flag = True
    assert outer.dataset.test_mode and outer.dataset.flag
    del outer.flag
    assert not hasattr(outer.dataset, 'flag') and not hasattr(outer, 'flag')
    outer.held_out = False
    assert not hasattr(outer.dataset, 'held_out')


def test_what_is_read_is_the_inner_ones():
    outer = split()
    assert isinstance(outer, HeldOutSplit) and isinstance(outer, DigitsDataset)
    assert outer.CLASSES == outer.metainfo['classes'] == [str(n) for n in range(10)]
    assert outer.get_cat_ids(7) == [outer.get_gt_labels()[7]]
    assert not hasattr(outer, 'cumulative_sizes')


def test_a_head_with_another_number_of_classes_is_noticed(digits_config, build_runner):
    """mmpretrain's hook reads the classes and writes the name of the class."""
    digits_config.model.head.num_classes = 12
    digits_config.custom_hooks = []
    runner = build_runner(digits_config)
    runner.register_hook(ClassNumCheckHook())
    with pytest.raises(AssertionError, match=r'\(12\).*10\) in DigitsDataset'):
        runner.train()


def test_mmdets_samplers_find_the_classes():
    samplers = pytest.importorskip('mmdet.datasets.samplers')
    outer = HeldOutSplit(DIGITS, held_out=True, num_per_class=3)
    drawn = list(samplers.ClassAwareSampler(outer, seed=0))
    counts = np.bincount(outer.get_gt_labels()[drawn])
    assert counts.tolist() == [3] * 10


@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda x: pickle.loads(
    pickle.dumps(x))], ids=['copied', 'pickled'])  # fmt: skip
def test_a_split_can_be_copied(duplicate):
    outer = split()
    second = duplicate(outer)
    assert type(second) is HeldOutSplit and second.indices == outer.indices
    second.test_mode = True
    assert second.dataset.test_mode and not outer.dataset.test_mode


def image(dataset, index):
    return dataset[index]['img'].tobytes()


def test_wrappers_take_a_split_as_they_take_a_data_set():
    outer = split()
    repeated = RepeatDataset(outer, times=2)
    assert len(repeated) == 80 and image(repeated, 43) == image(outer, 3)
    fold = KFoldDataset(
        dict(type='HeldOutSplit', dataset=DIGITS, held_out=True, num_images=40),
        num_splits=4,
    )
    assert len(fold) == 30 and image(fold, 0) == image(outer, 10)
    assert fold.get_gt_labels().tolist() == outer.get_gt_labels()[10:].tolist()
    assert len(outer) == 40


@pytest.mark.parametrize('kind', ['ConcatDataset', 'mmdet.ConcatDataset'])
def test_a_concatenation_is_split_in_its_parts(kind):
    if kind.startswith('mmdet'):
        pytest.importorskip('mmdet.datasets')
    whole = dict(type=kind, datasets=[DIGITS, TEST_DIGITS])
    sides = [split(whole, held_out=side, num_images=900) for side in (True, False)]
    assert sorted(sides[0].indices + sides[1].indices) == list(range(1437 + 360))
    plain = DATASETS.build(whole)
    for side in sides:
        assert isinstance(side, ConcatDataset)
        assert side.cumulative_sizes == np.cumsum([*map(len, side.datasets)]).tolist()
        assert side.metainfo.get('cumulative_sizes') in (None, side.cumulative_sizes)
        for index in (0, 100, -1):
            original = side.indices[index]
            assert image(side, index) == image(plain, original)
            info = side.get_data_info(index % len(side))
            assert info['img'].tobytes() == image(plain, original)


@pytest.mark.parametrize(
    'wrapper',
    [
        dict(type='RepeatDataset', times=2),
        dict(type='ClassBalancedDataset', oversample_thr=0.2),
        dict(type='mmdet.MultiImageMixDataset', pipeline=[]),
    ],
    ids=lambda wrapper: wrapper['type'],
)
def test_what_repeats_or_mixes_images_is_put_around_the_split(wrapper):
    """Else the same image may lie on both sides."""
    if wrapper['type'].startswith('mmdet'):
        pytest.importorskip('mmdet.datasets')
    name = wrapper['type'].rpartition('.')[2]
    message = f"a {name} cannot be split.*dict.type='{name}', dataset="
    with pytest.raises(EANError, match=message) as caught:
        split(dict(wrapper, dataset=DIGITS))
    assert str(caught.value).isprintable()
    inner = dict(type='HeldOutSplit', dataset=DIGITS, held_out=True, num_images=40)
    assert len(DATASETS.build(dict(wrapper, dataset=inner))) >= 40
