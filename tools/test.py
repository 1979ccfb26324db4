"""Test a checkpoint on the test set that a config names."""

import argparse
import os
from pathlib import Path

from mmengine.config import DictAction
from mmengine.runner import Runner

from ean_mm import launch


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, of mmpretrain, mmdet or mmseg')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--work-dir',
        help='folder for logs; default: work_dirs/ and the name of the config',
    )
    parser.add_argument(
        '--out', metavar='FILE', help='write the predictions to a pickle file'
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
    cfg.load_from = args.checkpoint
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs', Path(args.config).stem))
    launch.add_hook(cfg, 'MaskHook')
    launch.check(cfg, ('test_dataloader',))
    launch.prepare_distributed(cfg)
    runner = Runner.from_cfg(cfg)
    if args.out:
        from mmengine.evaluator import DumpResults

        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    runner.test()


if __name__ == '__main__':
    launch.explain_errors(main)
