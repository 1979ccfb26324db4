"""Test a checkpoint on the test set that a config names."""

import argparse

from mmengine.evaluator import DumpResults
from mmengine.runner import Runner

from ean_mm import launch


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, of mmpretrain, mmdet or mmseg')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--out', metavar='FILE', help='write the predictions to a pickle file'
    )
    launch.add_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = launch.read_config(args)
    cfg.load_from = args.checkpoint
    launch.check(cfg, ('test_dataloader',))
    launch.prepare_distributed(cfg)
    runner = Runner.from_cfg(cfg)
    if args.out:
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    runner.test()


if __name__ == '__main__':
    launch.explain_errors(main)
