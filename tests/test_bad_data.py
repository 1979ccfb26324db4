"""Bad data and bad losses: skipped with a count, or stopped with one line."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS, HOOKS, DefaultScope

from ean_mm import EANError, HeldOutSplit
from ean_mm.hooks import finite_check_hook
from ean_mm.search.evaluation.reward import Reward


@pytest.fixture
def images(tmp_path):
    """A folder of twelve readable images in each of two classes."""
    rng = np.random.default_rng(0)
    for label in ('cat', 'dog'):
        folder = tmp_path / 'images' / label
        folder.mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
            cv2.imwrite(str(folder / f'{number:02}.png'), pixels)
    return tmp_path / 'images'


@pytest.fixture
def search_config(digits_config, images):
    """The search on digits, on those images: a supernet of an epoch, a step a mask."""
    pipeline = [
        dict(type='LoadImageFromFile', color_type='grayscale'),
        dict(type='PackInputs'),
    ]
    for loader, held_out in (('train_dataloader', False), ('val_dataloader', True)):
        digits_config[loader].update(batch_size=4, num_workers=0)
        digits_config[loader].dataset = dict(
            type='HeldOutSplit',
            held_out=held_out,
            num_per_class=4,
            dataset=dict(
                type='CustomDataset', data_root=str(images), pipeline=pipeline,
                _scope_='mmpretrain'),
        )  # fmt: skip
    digits_config.val_evaluator = dict(type='Accuracy', _scope_='mmpretrain')
    digits_config.train_cfg.val_interval = 10
    digits_config.model.head.update(topk=(1,))
    return digits_config


def side(config, held_out):
    """One side of the split: the data set."""
    loader = config.val_dataloader if held_out else config.train_dataloader
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return DATASETS.build(loader.dataset)


def spoil(dataset, index, content=b'no image'):
    path = Path(dataset.get_data_info(index)['img_path'])
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    'content', [b'', b'no image', b'\x89PNG\r\n\x1a\n' + b'\0' * 99]
)
def test_a_training_image_that_does_not_decode_is_replaced_and_listed(
    search_config, content
):
    dataset = side(search_config, held_out=False)
    path = spoil(dataset, 3, content)
    assert dataset[3]['inputs'].shape == (1, 16, 16)
    assert dataset.unreadable == [str(path)]


@pytest.mark.parametrize('workers', [0, 2])
def test_the_log_counts_the_images_that_were_replaced(
    search_config, build_runner, workers
):
    search_config.train_dataloader.num_workers = workers
    search_config.custom_hooks.pop()
    search_config.train_cfg.max_epochs = 2
    paths = [spoil(side(search_config, held_out=False), index) for index in (3, 7)]
    runner = build_runner(search_config)
    runner.train()
    (log,) = Path(search_config.work_dir).glob('*/*.log')
    (line,) = [line for line in log.open() if 'cannot be read' in line]  # once
    assert '2 training images cannot be read' in line
    assert all(str(path)[-10:] in line for path in paths)


def test_a_training_set_without_readable_images_stops_in_one_line(search_config):
    dataset = side(search_config, held_out=False)
    for index in range(len(dataset)):
        spoil(dataset, index)
    with pytest.raises(EANError, match='10 training images in a row') as caught:
        dataset[0]
    assert str(caught.value).isprintable()


@pytest.mark.parametrize('ignore_empty', [False, True])
def test_a_reward_image_that_does_not_decode_stops_the_search(
    search_config, build_runner, ignore_empty
):
    """mmengine would put another image in its place where ignore_empty is set."""
    dataset = search_config.val_dataloader.dataset.dataset
    dataset.pipeline[0].ignore_empty = ignore_empty
    path = spoil(side(search_config, held_out=True), 2)
    runner = build_runner(search_config)
    with pytest.raises(EANError, match='held out image .* cannot be read') as caught:
        runner.train()
    assert str(path) in str(caught.value) and str(caught.value).isprintable()


def test_a_reward_set_of_another_kind_names_the_image_too(search_config, build_runner):
    loader = search_config.val_dataloader
    path = spoil(side(search_config, held_out=True), 2)
    loader.dataset.pop('held_out')
    loader.dataset.pop('num_per_class')
    loader.dataset = loader.dataset.dataset
    search_config.train_cfg.max_epochs = 0
    search_config.param_scheduler = None
    runner = build_runner(search_config)
    with pytest.raises(EANError, match='reward set cannot be read') as caught:
        runner.train()
    assert str(path) in str(caught.value) and str(caught.value).isprintable()


def test_a_tool_says_it_in_one_line_though_a_worker_found_it(
    search_config, tool, tmp_path
):
    search_config.val_dataloader.num_workers = 1
    search_config.train_cfg.val_interval = 1  # found by the validation, not the search
    path = spoil(side(search_config, held_out=True), 2)
    search_config.dump(tmp_path / 'search.py')
    status, _ = tool('train.py', tmp_path / 'search.py')
    assert status.startswith('error: the held out image') and status.isprintable()
    assert str(path) in status


@pytest.mark.parametrize('loader', ['train_dataloader', 'val_dataloader'])
def test_labels_beyond_the_classes_are_named_before_training(
    search_config, build_runner, loader, images
):
    search_config.model.head.num_classes = 1
    if loader == 'val_dataloader':
        for path in (images / 'dog').iterdir():
            path.rename(images / 'cat' / f'dog{path.name}')
        (images / 'dog').rmdir()
        (images.parent / 'val/cat').mkdir(parents=True)
        (images.parent / 'val/dog').mkdir()
        for path in list((images / 'cat').glob('dog*'))[:6]:
            path.rename(images.parent / 'val' / path.name[:3] / path.name)
        for path in list((images / 'cat').iterdir())[:6]:
            path.rename(images.parent / 'val/cat' / path.name)
        search_config.val_dataloader.dataset.dataset.data_root = str(
            images.parent / 'val'
        )
    runner = build_runner(search_config)
    message = f'of {loader} have a label .* no output for, the first being 1 of .*dog'
    with pytest.raises(EANError, match=message) as caught:
        runner.train()
    assert runner.iter == 0 and str(caught.value).isprintable()


def test_a_label_without_a_name_can_be_held_out():
    @DATASETS.register_module(force=True)
    class Unnamed:
        metainfo = dict(classes=['a'])

        def full_init(self):
            pass

        def get_gt_labels(self):
            return [0, 0, 1]

        def __len__(self):
            return 3

    with pytest.raises(EANError, match='cannot hold 1 images out of the 1 of class 1'):
        HeldOutSplit(dict(type='Unnamed'), held_out=True, num_per_class=1)


@HOOKS.register_module()
class BreakHook(Hook):
    """Spoils the loss or the weights from an iteration on."""

    priority = 'VERY_HIGH'

    def __init__(self, what, iteration, value=float('nan')):
        self.what, self.iteration, self.value = what, iteration, value

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter >= self.iteration and self.what == 'loss':
            outputs['loss'] = torch.tensor(self.value)
        if runner.iter == self.iteration and self.what == 'weights':
            runner.model.head.fc.weight.data[0, 0] = self.value


def breaking(config, **arguments):
    config.custom_hooks = [
        dict(type='MaskHook'),
        dict(type='BreakHook', **arguments),
        dict(type='SupernetHook'),
    ]
    config.train_cfg.val_interval = 10
    return config


@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
def test_a_loss_that_is_not_finite_stops_the_supernet(
    digits_config, build_runner, value
):
    digits_config.train_cfg.max_epochs = 2
    runner = build_runner(
        breaking(digits_config, what='loss', iteration=24, value=value)
    )
    with pytest.raises(EANError, match=f'loss is {value} at iteration 25') as caught:
        runner.train()
    message = str(caught.value)
    assert message.isprintable()
    for word in ('mask ', 'last finite loss was 2.', 'optimizer.lr', 'clip_grad'):
        assert word in message
    work_dir = Path(digits_config.work_dir)
    assert [path.name for path in work_dir.glob('*.pth')] == ['epoch_1.pth']
    assert (work_dir / 'last_checkpoint').read_text().endswith('epoch_1.pth')


def test_mixed_precision_may_skip_some_losses(digits_config, build_runner, monkeypatch):
    """Its wrapper needs a GPU; the hook is made to take the plain one for it."""
    monkeypatch.setattr(finite_check_hook, 'AmpOptimWrapper', OptimWrapper)
    build_runner(breaking(digits_config, what='loss', iteration=2)).train()
    with pytest.raises(EANError, match='loss is nan at iteration 21'):
        build_runner(breaking(digits_config, what='loss', iteration=0)).train()


@pytest.mark.parametrize('by_epoch', [True, False])
def test_no_checkpoint_takes_the_place_of_the_last_one_with_finite_weights(
    digits_config, build_runner, by_epoch
):
    """The last step before a checkpoint can break weights whose loss was finite."""
    digits_config.train_cfg.max_epochs = 2
    digits_config.default_hooks.checkpoint.update(
        interval=1 if by_epoch else 22, by_epoch=by_epoch, max_keep_ckpts=1
    )
    config = breaking(digits_config, what='weights', iteration=43)
    with pytest.raises(EANError, match='weights head.fc.weight are not finite at iter'):
        build_runner(config).train()
    (path,) = Path(config.work_dir).glob('*.pth')
    weights = torch.load(path, weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in weights.values())


def test_a_diverging_supernet_ends_in_one_line(digits_config, tool, tmp_path):
    config = breaking(digits_config, what='nothing', iteration=0)
    config.custom_hooks.pop(1)
    config.optim_wrapper.optimizer.lr = 1e30
    config.param_scheduler = None
    config.dump(tmp_path / 'supernet.py')
    status, _ = tool('train.py', tmp_path / 'supernet.py')
    assert status.startswith('error: the loss is nan at iteration')
    assert status.isprintable()


@pytest.mark.parametrize(
    'metric, value, message',
    [
        ('top1', 5.0, "reports no 'top1'; .* one of a, b"),
        ('a', float('nan'), 'a is nan: .* another of a, b'),
        ('a', float('inf'), 'a is inf: .* another of a, b'),
        ('a', 'x', "a is 'x', not a number; .* of a, b"),
        ('a', None, 'a is None, not a number; .* of a, b'),
        ('a', -1.0, 'a is -1: there is nothing in the reward set .* another of a, b'),
    ],
)
def test_a_metric_that_says_nothing_is_one_line_with_those_there_are(
    metric, value, message
):
    reward = Reward(metric=metric, unit='fraction')
    with pytest.raises(EANError, match=message) as caught:
        reward.percent(dict(a=value, b=0.5))
    assert str(caught.value).isprintable()
