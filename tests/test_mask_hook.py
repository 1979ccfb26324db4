from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

MASK = '110-010-001'


@pytest.fixture
def trained(digits_config, build_runner):
    """The config of a network that was trained with MASK for an epoch."""
    digits_config.custom_hooks = [dict(type='MaskHook')]
    digits_config.model.backbone.mask = [6, 2, 1]
    build_runner(digits_config).train()
    digits_config.load_from = f'{digits_config.work_dir}/epoch_1.pth'
    return digits_config


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
