"""Train a model, search its mask, or both, as a config says."""

import argparse
import os
from pathlib import Path

from mmengine.config import DictAction
from mmengine.runner import Runner

from ean_mm import launch


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, of mmpretrain, mmdet or mmseg')
    parser.add_argument(
        '--work-dir',
        help='folder for logs, checkpoints and masks; '
        'default: work_dirs/ and the name of the config',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on with the training and the search from a checkpoint, or else from '
        'the latest one in the work dir',
    )
    parser.add_argument(
        '--amp', action='store_true', help='train with automatic mixed precision'
    )
    parser.add_argument(
        '--channels-last',
        action='store_true',
        help='run in the channels-last memory format, often faster',
    )
    parser.add_argument(
        '--no-validate', action='store_true', help='do not validate during training'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the actual batch size',
    )
    parser.add_argument(
        '--data-root', metavar='DIR', help='folder to read every data set from'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override the config, as model.backbone.mask=100-1011-010011-011',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes of a distributed run were started',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = launch.load_config(args.config, args.cfg_options, args.data_root)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs', Path(args.config).stem))
    if args.amp:
        launch.enable_amp(cfg)
    if args.channels_last:
        launch.add_hook(cfg, 'ChannelsLastHook')
    if args.auto_scale_lr:
        cfg.setdefault('auto_scale_lr', dict())['enable'] = True
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    launch.add_hook(cfg, 'MaskHook')
    launch.set_resume(cfg, args.resume)
    launch.check(cfg, ('train_dataloader', 'val_dataloader'))
    launch.prepare_distributed(cfg)
    Runner.from_cfg(cfg).train()


if __name__ == '__main__':
    launch.explain_errors(main)
