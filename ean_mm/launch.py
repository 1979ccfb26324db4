"""What the command line tools do to a config before the Runner gets it."""

import argparse
import errno
import gc
import logging
import os
import sys
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Callable, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.hub import get_config
from mmengine.runner.checkpoint import find_latest_checkpoint

from ean_mm.checkpoints import read_checkpoint
from ean_mm.command_line_options import OptionAction
from ean_mm.compat import import_toolbox
from ean_mm.config_types import toolbox_of, type_name
from ean_mm.data_config import mend_loaders, require_data, set_data_root
from ean_mm.errors import EANError, one_line
from ean_mm.host_options import add_loader_arguments, set_loader_options

# Read by PyTorch at its first allocation on the CPU, and used on Linux only. Without
# huge pages, large activations cost more time in page faults than some layers take: on
# one machine filling 128 MB took 91 ms without and 30 ms with them.
os.environ.setdefault('THP_MEM_ALLOC_ENABLE', '1')

# What the user can mend, and how; any other OSError may be a bug of ours.
MENDS = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        'make room and run it again; what was saved is whole, and tools/train.py goes '
        'on from it with --resume',
    ),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST),
        'change its permissions, or name another place (of what a run writes with '
        '--work-dir, of its data with --data-root)',
    ),
}


def explain_errors(main: Callable[[], None]) -> None:
    """Run a tool; end with one line and status 1 on a mistake of the user's.

    A full disk and a folder that cannot be written to are such, too.
    """
    # The log on a full disk would print a traceback for every line that it loses.
    logging.raiseExceptions = False
    try:
        main()
    except OSError as error:
        if error.errno not in MENDS:
            raise
        place = '' if error.filename is None else f'{error.filename}: '
        sys.exit(f'error: {place}{error.strerror}; {MENDS[error.errno]}')
    except EANError as error:
        # mmengine's registries wrap an error once for every module being built.
        innermost = error
        while innermost.__cause__ is None and isinstance(
            innermost.__context__, EANError
        ):
            innermost = innermost.__context__
        sys.exit(f'error: {innermost}')
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # A wrapped model keeps the group's threads alive, in reference cycles with
            # its Runner. One that wants the interpreter while that ends aborts.
            gc.collect()
            torch.distributed.destroy_process_group()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that the tools have in common."""
    parser.add_argument(
        '--work-dir',
        help='folder for what the run writes; default: work_dirs/ and the name of the '
        'config',
    )
    parser.add_argument(
        '--data-root', metavar='DIR', help='folder to read every data set from'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        metavar='KEY=VALUE',
        help='override the config, as model.backbone.mask=100-1011-010011-011',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes of a distributed run were started',
    )
    add_loader_arguments(parser)
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


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
        raise EANError(f'config {path} cannot be read: {one_line(error)}') from error
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
    """Train with automatic mixed precision.

    Raises:
        ValueError: There is no GPU, or the optimizer wrapper is a special one.
    """
    if not torch.cuda.is_available():
        raise EANError('--amp needs a GPU and there is none; train without it')
    kind = type_name(cfg.optim_wrapper, 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise EANError(f'--amp does not work with optim_wrapper.type={kind!r}')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


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
    if checkpoint and checkpoint['type'] in (
        'CheckpointHook',
        'mmengine.CheckpointHook',
        CheckpointHook,
    ):
        checkpoint['type'] = 'SafeCheckpointHook'
    cfg.default_hooks = hooks


def set_resume(cfg: Config, resume: Optional[str]) -> None:
    """Resume training and the search.

    Args:
        cfg: Config with its ``work_dir``.
        resume: Path of a checkpoint, ``'auto'`` for the latest one in the work dir
            that is whole, None not to resume, except where torchrun has restarted the
            processes (``--max-restarts``) after their first checkpoint. If there is
            none to resume from, ``load_from`` still counts, and a stored search goes
            on.

    Raises:
        ValueError: The checkpoint does not hold a training run, or none of them is
            whole.
    """
    restarts = os.environ.get('TORCHELASTIC_RESTART_COUNT')
    if resume is None and restarts == '0' and os.environ.get('RANK') == '0':
        # What another run left here is not what a restart should go on from.
        Path(cfg.work_dir, 'last_checkpoint').unlink(missing_ok=True)
    restarted = resume is None and restarts not in (None, '0')
    if restarted:
        resume = 'auto'
    if resume is None:
        return
    for hook in cfg.get('custom_hooks') or []:
        if type_name(hook) == 'EANSearchHook':
            hook['resume'] = True
    if resume == 'auto':
        resume = _latest_whole_checkpoint(cfg, named_only=restarted)
    if resume is None:
        source = cfg.get('load_from') or 'initial weights'
        print(f'no checkpoint to resume from in {cfg.work_dir}; starting from {source}')
        return
    meta = _read_training_run(resume)['meta']
    cfg.resume, cfg.load_from = True, resume
    if (cfg.get('randomness') or {}).get('seed') is None:
        # mmengine takes over the seed only after it has built the training loader.
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=meta.get('seed'))


def _latest_whole_checkpoint(cfg: Config, named_only: bool) -> Optional[str]:
    """Find what ``last_checkpoint`` names, or the latest if that is damaged or missing.

    Args:
        cfg: Config with the ``work_dir`` to look in.
        named_only: Without a ``last_checkpoint``, find none.
    """
    work_dir, last = cfg.work_dir, None
    problem = f'{work_dir} has no file last_checkpoint'
    if Path(work_dir, 'last_checkpoint').is_file():
        last = find_latest_checkpoint(work_dir)
    if last is not None:
        try:
            _read_training_run(last)
            return last
        except EANError as error:
            problem = str(error)
    elif named_only:
        return None
    before = sorted(Path(work_dir).glob('*.pth'), key=lambda path: path.stat().st_mtime)
    source = Path(cfg.get('load_from') or '').resolve()
    if last is None:  # what the run starts from is not of its own
        before = [path for path in before if path.resolve() != source]
    for path in reversed(before):
        try:
            _read_training_run(str(path))
        except EANError:
            continue
        print(f'warning: {problem}; going on from {path}')
        return str(path)
    if last is None:
        return None
    raise EANError(
        f'{problem}; there is no other to resume from in {work_dir}: train without '
        '--resume, or name one with --resume CHECKPOINT'
    )


def _read_training_run(path: str) -> dict:
    """Open a checkpoint that training can be resumed from, and read all of it once.

    Raises:
        ValueError: It is missing or damaged, or does not hold a training run.
    """
    content = read_checkpoint(path)
    parts = content if isinstance(content, dict) else {}
    if 'optimizer' not in parts or not isinstance(parts.get('meta'), dict):
        raise EANError(
            f'{path} holds weights but no training run to resume; start from it with '
            f'--cfg-options load_from={path} instead'
        )
    if zipfile.is_zipfile(path):  # older ones have no checksums
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
        if damaged is not None:
            raise EANError(f'checkpoint {path} is damaged, in {damaged}')
    return content


def check(cfg: Config, loaders: Tuple[str, ...]) -> None:
    """Check what would otherwise fail late or in many lines.

    Args:
        cfg: The config.
        loaders: Names of the data loaders that will be used.

    Raises:
        ValueError: A data folder or the checkpoint is missing or unreadable.
    """
    require_data(cfg, loaders)
    path = cfg.get('load_from')
    if path and '://' not in path:
        read_checkpoint(path)


def prepare_distributed(cfg: Config) -> None:
    """Make ``--launcher pytorch`` work on machines without a GPU, with gloo.

    Raises:
        ValueError: Another launcher without a GPU.
    """
    if cfg.get('launcher', 'none') == 'none' or torch.cuda.is_available():
        return
    if cfg.launcher != 'pytorch':
        raise EANError(f'--launcher {cfg.launcher} needs GPUs; without, use pytorch')
    if 'RANK' not in os.environ:
        raise EANError(
            '--launcher pytorch needs torchrun; use tools/dist_train.sh CONFIG NUM'
        )
    # mmengine would call torch.cuda.set_device; it leaves an existing group alone.
    # Where torchrun was given a port, restarted processes share the store of those
    # before them and could take a dead process's address for a living one's.
    store, rank, world_size = next(torch.distributed.rendezvous('env://'))
    attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    store = torch.distributed.PrefixStore(f'attempt_{attempt}', store)
    torch.distributed.init_process_group(
        'gloo',
        store=store,
        rank=rank,
        world_size=world_size,
        # A process that has no mask to train waits for those that have; torchrun ends
        # it where another one dies.
        timeout=timedelta(days=7),
    )
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=True,
    )
