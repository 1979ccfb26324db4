"""Test a checkpoint on the test set that a config names."""

import argparse

import mmengine
from mmengine.dist import is_main_process

from ean_mm import launch
from ean_mm.fileio import require_folder
from testing import (
    add_test_arguments,
    collect_predictions,
    set_test_options,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, of mmpretrain, mmdet or mmseg')
    parser.add_argument('checkpoint', help='checkpoint file')
    add_test_arguments(parser)
    launch.add_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = launch.read_config(args)
    cfg.load_from = args.checkpoint
    set_test_options(cfg, args)
    if args.out:
        require_folder(args.out)
    launch.check(cfg, ('test_dataloader',))
    launch.prepare_distributed(cfg)
    runner = launch.build_runner(cfg)
    collect_predictions(runner, args)
    metrics = runner.test()
    if args.out_item == 'metrics' and is_main_process():
        mmengine.dump(metrics, args.out)


if __name__ == '__main__':
    launch.explain_errors(main)
