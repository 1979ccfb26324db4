import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.runner import Runner

from ean_mm import EANError

MASK = '110-010-001'
SEMI = dict(type='SemiBaseDetector', semi_train_cfg=dict(freeze_teacher=True))


@pytest.fixture(scope='module')
def once(train_once):
    """The config of a network that was trained with MASK for an epoch."""

    def change(cfg):
        cfg.custom_hooks = [dict(type='MaskHook')]
        cfg.model.backbone.mask = [6, 2, 1]

    return train_once(change)


@pytest.fixture
def trained(once, copied):
    """A copy of it, which loads its checkpoint."""
    cfg = copied(once)
    cfg.load_from = f'{cfg.work_dir}/epoch_1.pth'
    return cfg


def test_the_mask_is_in_the_checkpoint_and_the_dumped_config(trained):
    meta = torch.load(trained.load_from, weights_only=True)['meta']
    assert meta['ean_mm'] == dict(masks=dict(backbone=MASK))
    dumped = next(Path(trained.work_dir).glob('*.py'))
    assert Config.fromfile(dumped).model.backbone.mask == MASK


@pytest.mark.parametrize('mask, warns', [(MASK, False), ('all', True)])
def test_another_mask_than_the_checkpoints_is_warned_of(
    trained, build_runner, mask, warns, capsys
):
    trained.model.backbone.mask = mask
    build_runner(trained).test()
    told = f'was trained with the mask {MASK} in backbone' in capsys.readouterr().out
    assert told == warns


def test_a_supernet_fits_every_mask(digits_config, build_runner, capsys):
    build_runner(digits_config).train()
    digits_config.load_from = f'{digits_config.work_dir}/epoch_1.pth'
    digits_config.custom_hooks = [dict(type='MaskHook')]
    digits_config.model.backbone.mask = MASK
    capsys.readouterr()
    build_runner(digits_config).test()
    assert 'was trained with the mask' not in capsys.readouterr().out


def test_the_checkpoint_loads_with_mmengine_on_this_torch(trained):
    trained.resume = True
    trained.train_cfg.max_epochs = 2
    runner = Runner.from_cfg(trained)
    runner.train()
    assert runner.epoch == 2


def test_a_plain_network_is_loaded_with_one_line(trained, build_runner, capsys):
    content = torch.load(trained.load_from, weights_only=True)
    content['state_dict'] = {
        name: value
        for name, value in content['state_dict'].items()
        if 'attentions' not in name
    }
    torch.save(content, trained.load_from)
    trained.log_level = 'INFO'
    capsys.readouterr()
    build_runner(trained).test()
    told = capsys.readouterr().out
    assert told.count('attention weights are not in the checkpoint') == 1
    assert 'missing keys' not in told


def test_a_model_for_augmented_tests_takes_the_checkpoint(trained, build_runner):
    """Twice the same image and the mean of both: what the plain test measures."""
    plain = build_runner(trained).test()['accuracy/top1']
    same, pack = dict(type='RandomFlip', prob=0.0), dict(type='PackInputs')
    trained.test_dataloader.dataset.pipeline[-1] = dict(
        type='TestTimeAug', transforms=[[same, same], [pack]]
    )
    trained.model = dict(type='mmpretrain.AverageClsScoreTTA', module=trained.model)
    runner = build_runner(trained)
    assert runner.test()['accuracy/top1'] == plain
    dumped = max(Path(trained.work_dir).glob('*.py'), key=lambda p: p.stat().st_mtime)
    assert Config.fromfile(dumped).model.module.backbone.mask == MASK


def detector(mask='all', **wrapper):
    """RetinaNet with a narrow EANResNet-18, in another model if one is given."""
    model = get_config('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py').model
    model.backbone = dict(
        type='EANResNet', depth=18, base_channels=8, stem_channels=8, mask=mask,
        out_indices=(0, 1, 2, 3), attention=dict(type='SEAttention'))  # fmt: skip
    model.neck.in_channels = [8, 16, 32, 64]
    model.bbox_head.num_classes = 2
    key = 'detector' if 'Semi' in wrapper.get('type', '') else 'module'
    return {**wrapper, key: model} if wrapper else model


@pytest.fixture
def load_detector(tmp_path, build_runner):
    """Load a plain detector's checkpoint into another; return both."""
    pytest.importorskip('mmdet')

    def load(**other):
        cfg = Config(
            dict(
                model=detector(),
                work_dir=str(tmp_path),
                experiment_name=tmp_path.name,
                custom_hooks=[dict(type='MaskHook')],
                default_scope='mmdet',
            )
        )
        plain = build_runner(cfg)
        masks = dict(backbone='11-11-11-11')
        content = dict(
            state_dict=plain.model.state_dict(), meta=dict(ean_mm=dict(masks=masks))
        )
        torch.save(content, tmp_path / 'plain.pth')
        cfg.model = detector(**other)
        runner = build_runner(cfg)
        runner.load_checkpoint(str(tmp_path / 'plain.pth'))
        return plain.model, runner.model

    return load


@pytest.mark.parametrize(
    'wrapper',
    [
        dict(type='DetTTAModel', tta_cfg=dict(max_per_img=1)),
        SEMI,
    ],
    ids=lambda wrapper: wrapper['type'],
)
def test_a_model_around_a_detector_takes_its_checkpoint(load_detector, wrapper):
    plain, around = load_detector(**wrapper)
    expected = plain.state_dict()
    for name, value in around.state_dict().items():
        plain_name = re.sub('^(module|student|teacher)[.]', '', name)
        assert torch.equal(value, expected[plain_name]), name


def test_a_checkpoints_mask_is_compared_with_that_of_a_model_around(
    load_detector, capsys
):
    load_detector(mask='none', **SEMI)
    told = capsys.readouterr().out
    assert 'with the mask 11-11-11-11 in student.backbone' in told


def test_a_backbones_checkpoint_is_no_detectors(load_detector, tmp_path, build_runner):
    plain, _ = load_detector()
    torch.save(plain.backbone.state_dict(), tmp_path / 'plain.pth')
    cfg = Config(
        dict(
            model=detector(**SEMI),
            work_dir=str(tmp_path),
            experiment_name=tmp_path.name,
            custom_hooks=[dict(type='MaskHook')],
            default_scope='mmdet',
        )
    )
    runner = build_runner(cfg)
    with pytest.raises(EANError, match='holds no weights of this model'):
        runner.load_checkpoint(str(tmp_path / 'plain.pth'))
