"""Trainings that are stopped and resumed."""

import pytest

from ean_mm.launch import set_resume


@pytest.fixture
def cfg(digits_config):
    """A supernet of two validated epochs, of six iterations with random crops each."""
    digits_config.custom_hooks = [dict(type='MaskHook'), dict(type='SupernetHook')]
    digits_config.train_cfg.update(max_epochs=2, val_interval=1)
    digits_config.train_dataloader.batch_size = 256
    return digits_config


def train(build_runner, cfg):
    runner = build_runner(cfg)
    runner.train()
    return runner


def resume(build_runner, cfg, checkpoint='auto'):
    set_resume(cfg, str(checkpoint))
    return train(build_runner, cfg)
