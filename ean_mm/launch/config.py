"""Read a config with the options that the tools have in common."""

import argparse
import os
from pathlib import Path
from typing import Optional

import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.hub import get_config

from ean_mm.compat import NO_OPERATORS, import_toolbox, lacks_operators
from ean_mm.config_types import toolbox_of, type_name
from ean_mm.errors import EANError, one_line
from ean_mm.launch.data_config import mend_loaders, set_data_root, set_loader_options
from ean_mm.launch.option_action import OptionAction
from ean_mm.optim_wrapper import processor_has_bfloat16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that the tools have in common."""
    add = parser.add_argument
    add(
        '--work-dir',
        help='folder for what the run writes; default: work_dirs/ and the name of the '
        'config',
    )
    add('--data-root', metavar='DIR', help='folder to read every data set from')
    add(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        metavar='KEY=VALUE',
        help='override the config, as model.backbone.mask=100-1011-010011-011',
    )
    add(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes of a distributed run were started',
    )
    add('--no-pin-memory', action='store_true', help='do not pin memory of batches')
    add(
        '--no-persistent-workers',
        action='store_true',
        help='start the workers of data loaders again for every epoch',
    )
    add('--local_rank', '--local-rank', type=int, default=0)


def read_config(args: argparse.Namespace) -> Config:
    """Read the config that a tool was called with, its common arguments applied."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs', Path(args.config).stem))
    set_loader_options(cfg, args)
    add_hook(cfg, 'MaskHook')
    use_safe_checkpoints(cfg)
    return cfg


def load_config(path: str, options: Optional[dict], data_root: Optional[str]) -> Config:
    """Read a config and override it from the command line.

    Args:
        path: The config file, or one of a package as ``'mmdet::...'``.
        options: What ``--cfg-options`` sets.
        data_root: Folder to read every data set from, None to keep the config's.

    Raises:
        ValueError: There is no such file, it is no config, or its toolbox does not
            import.
    """
    if '::' not in path and not Path(path).is_file():
        raise EANError(f'there is no config file {path}')
    try:
        cfg = get_config(path) if '::' in path else Config.fromfile(path)
        if options is not None:
            cfg.merge_from_dict(options)
    except Exception as error:  # a config is a program of its author's
        if lacks_operators(error):
            raise EANError(f'config {path} cannot be used: {NO_OPERATORS}') from error
        problem = one_line(error)
        if isinstance(error, ModuleNotFoundError) and 'is not installed' in problem:
            problem = problem.partition(', please')[0]
            problem += '; run make install, which installs all toolboxes'
        raise EANError(f'config {path} cannot be read: {problem}') from error
    toolbox = toolbox_of(cfg)
    if toolbox is not None:
        try:
            import_toolbox(toolbox)
        except ImportError as error:
            raise EANError(f'config {path} cannot be used: {error}') from error
    mend_loaders(cfg)
    if data_root is not None:
        set_data_root(cfg, data_root)
    return cfg


def enable_amp(cfg: Config) -> None:
    """Train with automatic mixed precision: on a CPU in bfloat16.

    Raises:
        ValueError: There is neither a GPU nor a processor that computes in bfloat16, or
            the optimizer wrapper is a special one.
    """
    on_gpu = torch.cuda.is_available()
    if not on_gpu and not processor_has_bfloat16():
        raise EANError(
            '--amp needs a GPU, or a processor with AVX512_BF16 or AMX, and there is '
            'neither; train without it'
        )
    kind = type_name(cfg.optim_wrapper, 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'CPUAmpOptimWrapper'):
        raise EANError(f'--amp does not work with optim_wrapper.type={kind!r}')
    if on_gpu:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    else:
        cfg.optim_wrapper.type = 'CPUAmpOptimWrapper'
        for name in ('loss_scale', 'dtype', 'use_fsdp'):  # of AmpOptimWrapper
            cfg.optim_wrapper.pop(name, None)


def enable_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate with the actual batch size.

    Raises:
        ValueError: The config does not say which batch size it is for.
    """
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise EANError(
            '--auto-scale-lr needs a batch size that the learning rate is for; add '
            '--cfg-options auto_scale_lr.base_batch_size=256'
        )
    cfg.auto_scale_lr.enable = True


def add_hook(cfg: Config, kind: str) -> None:
    """Add a custom hook to a config that does not have it."""
    hooks = cfg.get('custom_hooks') or []
    if kind not in map(type_name, hooks):
        cfg.custom_hooks = [*hooks, dict(type=kind)]


def use_safe_checkpoints(cfg: Config) -> None:
    """Let ours take the place of mmengine's checkpoint hook.

    The bases of mmdet and mmseg name mmengine's.
    """
    hooks = cfg.get('default_hooks') or {}
    checkpoint = hooks.setdefault('checkpoint', dict(type='CheckpointHook', interval=1))
    theirs = ('CheckpointHook', 'mmengine.CheckpointHook', CheckpointHook)
    if checkpoint and checkpoint['type'] in theirs:
        checkpoint['type'] = 'SafeCheckpointHook'
    cfg.default_hooks = hooks
