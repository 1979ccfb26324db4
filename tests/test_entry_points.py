"""Every hook of ours in every way to use a Runner."""

import copy
from pathlib import Path

import pytest
from mmengine.registry import HOOKS

import ean_mm.hooks  # noqa: F401

KINDS = sorted(
    name
    for name, hook in HOOKS.module_dict.items()
    if hook.__module__.startswith('ean_mm.hooks')
)
ARGUMENTS = dict(
    EANSearchHook=dict(searcher=dict(type='RandomSearcher', num_steps=1)),
    SafeCheckpointHook=dict(interval=1, save_best='accuracy/top1', max_keep_ckpts=1),
)


def config_with(cfg, kind):
    """The digits' config with one hook of ours."""
    cfg.custom_hooks = []
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1)
    hook = dict(type=kind, **ARGUMENTS.get(kind, {}))
    if kind == 'SafeCheckpointHook':
        cfg.default_hooks.checkpoint = hook
    else:
        cfg.custom_hooks = [hook]
    # PyTorch 2.11 crashes on narrower maps in the channels-last format
    cfg.model.backbone.update(base_channels=8, stem_channels=8)
    cfg.model.head.in_channels = 32
    cfg.train_dataloader.num_batch_per_epoch = 1
    cfg.train_cfg.val_interval = 1
    return cfg


def only(cfg, part):
    """A config of a run that has no other loop."""
    cfg = copy.deepcopy(cfg)
    for other in {'train', 'val', 'test'} - {part}:
        for key in (f'{other}_dataloader', f'{other}_cfg', f'{other}_evaluator'):
            cfg.pop(key, None)
    if part != 'train':
        cfg.pop('optim_wrapper')
        cfg.pop('param_scheduler')
        cfg.pop('auto_scale_lr', None)
    return cfg


@pytest.mark.parametrize('kind', KINDS)
def test_every_hook_works_in_every_entry_point(digits_config, build_runner, kind):
    cfg = config_with(digits_config, kind)
    searches = kind == 'EANSearchHook'
    runner = build_runner(cfg if searches else only(cfg, 'train'))
    runner.train()
    written = set(Path(cfg.work_dir).glob('*.pth'))
    cfg.load_from = f'{cfg.work_dir}/epoch_1.pth'
    for part in ('val', 'test'):
        for config in (cfg, only(cfg, part)):
            assert 'accuracy/top1' in getattr(build_runner(config), part)()
    assert set(Path(cfg.work_dir).glob('*.pth')) == written
    build_runner(cfg).load_or_resume()
    cfg.resume = True
    # a search that has ended is of the weights that it had
    cfg.train_cfg.max_epochs = 1 if searches else 2
    runner = build_runner(cfg)
    runner.train()
    assert runner.epoch == cfg.train_cfg.max_epochs
    assert runner.val() and runner.test()
