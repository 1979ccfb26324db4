"""Find out on handwritten digits in which blocks attention is worth its cost.

Trains ResNet-20 with SE attention for a while under each of some masks, as
configs/ean/resnet20_se_search-by-training_digits.py says, and reports what attention in
each block brings. A minute on two CPU cores; no download.
"""

import argparse
import time
from pathlib import Path

from rich.console import Console

from ean_mm import Mask, RichProgressHook
from ean_mm.effects import print_effects, read_effects
from ean_mm.fileio import atomic_write
from ean_mm.launch import (
    OptionAction,
    add_hook,
    explain_errors,
    load_config,
    quiet_runner,
)
from ean_mm.visualization.report import read_search, render_report

CONFIGS = Path(__file__).parents[1] / 'configs' / 'ean'
STEPS = 4
"""steps of four masks each, two thirds of what the config has, to end in a minute"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work-dir',
        type=Path,
        default='work_dirs/demo',
        help='folder for all that it writes',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        default={},
        metavar='KEY=VALUE',
        help='override the config, as custom_hooks.1.searcher.num_steps=10',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    started = time.time()
    console = Console()
    console.print('Searching where ResNet-20 needs SE attention to read digits')
    config = CONFIGS / 'resnet20_se_search-by-training_digits.py'
    options = {'custom_hooks.1.searcher.num_steps': STEPS, **args.cfg_options}
    cfg = load_config(str(config), options, None)
    add_hook(cfg, 'ChannelsLastHook')
    runner = quiet_runner(cfg, args.work_dir)
    runner.register_hook(RichProgressHook(console=console))
    runner.train()
    mask = args.work_dir / 'mask_backbone.json'
    print_effects(read_effects(Mask.from_file(mask).info['effects']), console)
    page = args.work_dir / 'search_report.html'
    with atomic_write(page) as file:
        file.write(render_report(read_search(args.work_dir)).encode())
    console.print(f'\nmask: {mask}\npage with pictures: {page}', soft_wrap=True)
    console.print(f'Done in {time.time() - started:.0f} s')


if __name__ == '__main__':
    explain_errors(main)
