"""Train a model, search its mask, or both, as a config says."""

import argparse

from ean_mm import launch


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, of mmpretrain, mmdet or mmseg')
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
    launch.add_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = launch.read_config(args)
    if args.amp:
        launch.enable_amp(cfg)
    if args.channels_last:
        launch.add_hook(cfg, 'ChannelsLastHook')
    if args.auto_scale_lr:
        launch.enable_auto_scale_lr(cfg)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    launch.set_resume(cfg, args.resume)
    launch.check(cfg, ('train_dataloader', 'val_dataloader'))
    launch.prepare_distributed(cfg)
    launch.build_runner(cfg).train()


if __name__ == '__main__':
    launch.explain_errors(main)
