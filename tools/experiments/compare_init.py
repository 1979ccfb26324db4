"""Compare how attention may start when it enters a trained network.

Trains the plain network of a config, then goes on from its weights with attention in
every block: as the paper starts it, from the identity, and from the identity with a
learning rate of its own. Reports the accuracy right after attention enters, and after
the fine-tuning.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any, Dict, List

from mmengine.config import Config

from ean_mm.fileio import atomic_write
from ean_mm.launch import add_hook, explain_errors, load_config, quiet_runner
from studies.table import part_of

ATTENTION = 'model.backbone.attention'
FAST = {
    'optim_wrapper.paramwise_cfg': dict(
        custom_keys={'backbone.attentions': dict(lr_mult=10)}
    )
}
VARIANTS: Dict[str, Dict[str, Any]] = {
    'no attention': {ATTENTION: None},
    "init='default'": {f'{ATTENTION}.init': 'default'},
    "init='identity'": {f'{ATTENTION}.init': 'identity'},
    "init='identity', lr x10": {f'{ATTENTION}.init': 'identity', **FAST},
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a classifier with attention')
    parser.add_argument('--data-root', help='folder to read every data set from')
    parser.add_argument(
        '--images-per-class', type=int, default=1000, help='training images to use'
    )
    parser.add_argument(
        '--test-images-per-class', type=int, default=200, help='test images to use'
    )
    parser.add_argument(
        '--plain', metavar='CHECKPOINT', help='plain network, if it is trained already'
    )
    parser.add_argument(
        '--plain-epochs', type=int, default=5, help='epochs of the plain network'
    )
    parser.add_argument('--epochs', type=int, default=1, help='epochs of fine-tuning')
    parser.add_argument(
        '--lr', type=float, default=0.01, help='learning rate of fine-tuning'
    )
    parser.add_argument('--seeds', type=int, default=3, help='fine-tunings a variant')
    parser.add_argument('--work-dir', default='work_dirs/compare_init')
    parser.add_argument('--out', help='JSON file for the results')
    return parser.parse_args()


def prepare(args: argparse.Namespace, **options: Any) -> Config:
    """Read the config, with attention in every block and a part of the images."""
    cfg = load_config(args.config, None, args.data_root)
    cfg.model.backbone.mask = 'all'
    cfg.merge_from_dict(options)
    for loader, number in (
        ('train_dataloader', args.images_per_class),
        ('test_dataloader', args.test_images_per_class),
    ):
        cfg[loader].dataset = part_of(cfg[loader].dataset, number)
    cfg.default_hooks.checkpoint.interval = -1  # only the last one
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    add_hook(cfg, 'ChannelsLastHook')
    return cfg


def train_plain(args: argparse.Namespace) -> str:
    """Train the plain network; return its checkpoint."""
    cfg = prepare(args, **{ATTENTION: None})
    cfg.train_cfg.max_epochs = args.plain_epochs
    cfg.param_scheduler = dict(
        type='CosineAnnealingLR', T_max=args.plain_epochs, convert_to_iter_based=True
    )
    runner = quiet_runner(cfg, Path(args.work_dir, 'plain'), seed=0)
    runner.train()
    return Path(runner.work_dir, 'last_checkpoint').read_text()


def fine_tune(
    args: argparse.Namespace, plain: str, options: Dict[str, Any], seed: int
) -> List[float]:
    """Return the accuracy in percent before and after training on."""
    cfg = prepare(args, **options)
    cfg.load_from = plain
    cfg.optim_wrapper.optimizer.lr = args.lr
    cfg.param_scheduler = None
    cfg.train_cfg.max_epochs = args.epochs
    folder = Path(args.work_dir, 'fine_tune')
    # A runner of its own: one that has loaded would train from fresh weights.
    before = quiet_runner(cfg, folder, seed).test()['accuracy/top1']
    runner = quiet_runner(cfg, folder, seed)
    runner.train()
    return [before, runner.test()['accuracy/top1']]


def main() -> None:
    args = parse_args()
    plain = args.plain or train_plain(args)
    results = []
    for name, options in VARIANTS.items():
        pairs = [fine_tune(args, plain, options, seed) for seed in range(args.seeds)]
        results.append(dict(variant=name, before_after=pairs))
        (before, after) = zip(*pairs)
        print(f'{name:<26}', *(_summary(values) for values in (before, after)))
    if args.out:
        record = dict(arguments=vars(args), results=results)
        with atomic_write(args.out) as file:
            file.write(json.dumps(record, indent=2).encode())


def _summary(values: List[float]) -> str:
    spread = f' ± {statistics.stdev(values):.2f}' if len(values) > 1 else ''
    return f'{statistics.mean(values):6.2f}{spread}'


if __name__ == '__main__':
    explain_errors(main)
