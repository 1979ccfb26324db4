"""Our train.py and test.py do what the toolboxes' own do with a config and options."""

import argparse
import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch._dynamo
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmpretrain import get_model

from ean_mm import EANError
from ean_mm.checkpoints import load_trained
from ean_mm.launch import add_arguments, build_runner
from ean_mm.launch.data_config import set_loader_options
from testing import add_test_arguments, set_test_options


@RUNNERS.register_module()
class NotedRunner(Runner):
    """Counts how often it is used."""

    uses = 0

    @classmethod
    def from_cfg(cls, cfg):
        NotedRunner.uses += 1
        return super().from_cfg(cfg)


@pytest.fixture
def images(digits_config, tmp_path):
    """A config for 6 colour images of two classes in files, and its checkpoint."""
    cfg, rng = digits_config, np.random.default_rng(0)
    for label in ('cat', 'dog'):
        (tmp_path / 'images' / label).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
            cv2.imwrite(str(tmp_path / f'images/{label}/{number}{label}.png'), pixels)
    cfg.pop('work_dir')
    cfg.model.backbone.in_channels = 3
    cfg.model.head.num_classes = cfg.data_preprocessor.num_classes = 2
    cfg.data_preprocessor.mean = cfg.data_preprocessor.std = [127.5] * 3
    cfg.custom_hooks = []
    cfg.test_dataloader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            type='CustomDataset',
            data_root=str(tmp_path / 'images'),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
        ),
    )
    model = get_model(Config(dict(cfg)))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'net.pth')
    cfg.dump(tmp_path / 'net.py')
    return cfg


def test_a_config_names_its_runner(tool, digits_config, images, tmp_path):
    images.runner_type = 'NotedRunner'
    images.train_cfg.max_epochs = 0
    images.param_scheduler = None
    images.train_dataloader = dict(images.test_dataloader)
    images.val_dataloader = images.val_cfg = images.val_evaluator = None
    images.dump(tmp_path / 'net.py')
    before = NotedRunner.uses
    assert tool('train.py', 'net.py')[0] == 0
    assert tool('test.py', 'net.py', 'net.pth')[0] == 0
    assert NotedRunner.uses == before + 2
    status, _ = tool('train.py', 'net.py', '--cfg-options', 'runner_type=NoRunner')
    assert status.startswith("error: runner_type='NoRunner' is not registered")


def test_a_runner_is_found_in_the_toolbox_or_given_as_a_class():
    registry = pytest.importorskip('mmdet.registry').RUNNERS

    @registry.register_module(force=True)
    class OwnRunner(NotBuilt):
        pass

    for kind in ('OwnRunner', OwnRunner):
        cfg = Config(dict(default_scope='mmdet', runner_type=kind))
        assert build_runner(cfg) is OwnRunner


def test_the_environment_limits_what_dynamo_keeps_as_in_mmdet(monkeypatch):
    pytest.importorskip('mmdet')
    monkeypatch.setattr(torch._dynamo.config, 'cache_size_limit', 8)
    monkeypatch.setenv('DYNAMO_CACHE_SIZE_LIMIT', '5')
    build_runner(Config(dict(default_scope='mmdet', runner_type=NotBuilt)))
    assert torch._dynamo.config.cache_size_limit == 5


class NotBuilt(Runner):
    @classmethod
    def from_cfg(cls, cfg):
        return cls


def predictions(path):
    return [sample['pred_score'] for sample in pickle.loads(Path(path).read_bytes())]


def test_augmented_tests_average_an_image_and_its_mirror_image(tool, images, tmp_path):
    options = ('--tta', '--out', 'new/pred.pkl')
    assert tool('test.py', 'net.py', 'net.pth', *options)[0] == 0
    model = load_trained(get_model(Config(dict(images))), torch.load('net.pth'))
    averaged = predictions('new/pred.pkl')
    assert len(averaged) == 6
    paths = sorted((tmp_path / 'images').rglob('*.png'))
    for path, scores in zip(paths, averaged):
        pixels = cv2.imread(str(path)).transpose(2, 0, 1)
        batch = np.stack([pixels, pixels[:, :, ::-1]]).astype(np.float32)
        logits = model(torch.from_numpy(batch / 127.5 - 1))
        expected = logits.softmax(1).mean(0)
        torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-6)


def test_a_config_says_how_it_is_augmented(tool, images, tmp_path):
    same = dict(type='RandomFlip', prob=0.0)
    images.tta_model = dict(type='mmpretrain.AverageClsScoreTTA')
    images.tta_pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='TestTimeAug', transforms=[[same] * 3, [dict(type='PackInputs')]]),
    ]
    images.test_dataloader.dataset = dict(
        type='RepeatDataset', times=2, dataset=images.test_dataloader.dataset
    )
    images.dump(tmp_path / 'net.py')
    options = ('--out', 'tta.pkl', '--tta')
    assert tool('test.py', 'net.py', 'net.pth', *options)[0] == 0
    assert tool('test.py', 'net.py', 'net.pth', *options[:1], 'plain.pkl')[0] == 0
    for averaged, plain in zip(predictions('tta.pkl'), predictions('plain.pkl')):
        torch.testing.assert_close(averaged, plain)


def test_metrics_are_written(tool, images):
    for name in ('m.json', 'm.yaml', 'm.pkl'):
        options = ('--out', name, '--out-item', 'metrics')
        assert tool('test.py', 'net.py', 'net.pth', *options)[0] == 0
    metrics = json.loads(Path('m.json').read_text())
    written = next(Path('work_dirs/net').glob('*/*.json')).read_text()
    assert metrics['accuracy/top1'] == json.loads(written)['accuracy/top1']


@pytest.mark.parametrize('interval, names', [(None, '012'), (2, '02')])
def test_predictions_are_drawn(tool, images, tmp_path, interval, names):
    options = ['--show-dir', 'shown'] + (['--interval', interval] if interval else [])
    assert tool('test.py', 'net.py', 'net.pth', *options)[0] == 0
    drawn = sorted(path.name for path in (tmp_path / 'shown').iterdir())
    cats = [name for name in drawn if 'cat' in name]
    assert cats == [f'{name}cat.png_0.png' for name in names]


def test_a_test_in_mixed_precision(tool, images):
    options = ('--amp', '--out', 'half.pkl')
    assert tool('test.py', 'net.py', 'net.pth', *options)[0] == 0
    assert tool('test.py', 'net.py', 'net.pth', '--out', 'full.pkl')[0] == 0
    half, full = predictions('half.pkl'), predictions('full.pkl')
    assert not all(map(torch.equal, half, full))
    for one, other in zip(half, full):
        torch.testing.assert_close(one.float(), other, rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    'scope, options, message',
    [
        ('mmpretrain', ['--out', 'x.txt'], '--out x.txt must end in one of .pkl'),
        ('mmdet', ['--out', 'folder'], '--out folder must end in one of .pkl'),
        ('mmseg', ['--out', 'x', '--out-item', 'metrics'], 'must end in one of .json'),
        ('mmpretrain', ['--out-item', 'pred'], '--out-item needs a file'),
        ('mmpretrain', ['--show'], '--show needs a display; draw into a folder'),
        ('mmdet', ['--show-dir', 'x', '--interval', '3'], 'leave out --interval'),
        ('mmseg', ['--tta'], '--tta needs tta_model and tta_pipeline'),
        (None, ['--tta'], '--tta is for configs of mmpretrain, mmdet and mmseg'),
        (None, ['--show-dir', 'x'], '--show is for configs of mmpretrain, mmdet and'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else None,
)
def test_what_is_not_possible_is_one_line(scope, options, message, monkeypatch):
    for display in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(display, raising=False)
    monkeypatch.setattr('sys.platform', 'linux')
    parser = argparse.ArgumentParser()
    add_test_arguments(parser)
    cfg = Config(dict(default_scope=scope, model=dict(type='M'), test_dataloader={}))
    with pytest.raises(EANError) as caught:
        set_test_options(cfg, parser.parse_args(options))
    assert message in str(caught.value) and str(caught.value).isprintable()


def test_loaders_have_what_mmpretrains_tools_give_them(monkeypatch):
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    def loaders(scope, *options, **loader):
        cfg = Config(
            dict(default_scope=scope, train_dataloader=loader, val_dataloader=None)
        )
        set_loader_options(cfg, parser.parse_args(options))
        return cfg.train_dataloader

    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    collate = dict(collate_fn=dict(type='default_collate'))
    expected = dict(num_workers=2, pin_memory=True, persistent_workers=True) | collate
    assert loaders('mmpretrain', num_workers=2) == expected
    assert 'persistent_workers' not in loaders('mmpretrain', num_workers=0)
    own = dict(num_workers=2, collate_fn=dict(type='x'), persistent_workers=False)
    assert loaders('mmpretrain', **own) == dict(own, pin_memory=True)
    assert loaders('mmdet', num_workers=2) == dict(num_workers=2)
    off = ('--no-pin-memory', '--no-persistent-workers')
    expected = dict(num_workers=2, pin_memory=False, persistent_workers=False)
    assert loaders('mmdet', *off, num_workers=2) == expected
