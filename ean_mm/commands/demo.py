"""``demo``: in which blocks does ResNet-20 want attention to read digits?"""

import argparse
import time
from pathlib import Path
from typing import Any

from ean_mm import terminal
from ean_mm.effects import print_effects, read_effects
from ean_mm.effects.words import recommendation
from ean_mm.fileio import atomic_write
from ean_mm.hooks import RichProgressHook
from ean_mm.launch import OptionAction, add_hook, load_config, quiet_runner
from ean_mm.mask import Mask
from ean_mm.visualization import draw_effects
from ean_mm.visualization.report import read_search, render_report
from ean_mm.zoo import CONFIGS

STEPS = 4
"""steps of four masks each, two thirds of what the config has, to end in two minutes"""


def add_parser(commands: Any) -> None:
    """Add the command to the subparsers of a parser."""
    demo = commands.add_parser(
        'demo',
        help='search on handwritten digits, in two minutes',
        description='Find out on handwritten digits in which blocks ResNet-20 wants SE '
        'attention: train it for a while with each of 16 masks, and say what attention '
        'in each block adds. It takes one to two minutes on two CPU cores and '
        'downloads nothing.',
        epilog='example:\n  python -m ean_mm demo',
    )
    demo.add_argument(
        '--work-dir',
        type=Path,
        default='work_dirs/demo',
        help='folder for all that it writes',
    )
    demo.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        default={},
        metavar='KEY=VALUE',
        help='override the config, as custom_hooks.1.searcher.num_steps=10',
    )
    demo.set_defaults(run=_demo)


def _demo(args: argparse.Namespace) -> int:
    started = time.time()
    console = terminal.console()
    console.print('Searching where ResNet-20 needs SE attention to read digits')
    config = CONFIGS / 'ean/resnet20_se_search-by-training_digits.py'
    options = {'custom_hooks.1.searcher.num_steps': STEPS, **args.cfg_options}
    cfg = load_config(str(config), options, None)
    add_hook(cfg, 'ChannelsLastHook')
    runner = quiet_runner(cfg, args.work_dir)
    runner.register_hook(RichProgressHook(console=console))
    runner.train()

    mask = args.work_dir / 'mask_backbone.json'
    effects = read_effects(Mask.from_file(mask).info['effects'])
    print_effects(effects, console)
    picture = args.work_dir / 'effects.png'
    draw_effects(effects).savefig(picture, dpi=150)
    page = args.work_dir / 'search_report.html'
    with atomic_write(page) as file:
        file.write(render_report(read_search(args.work_dir)).encode())
    console.print(
        f'\n{recommendation(effects)}\n\n'
        f'picture         {picture}\n'
        f'all pictures    {page}\n'
        f'mask            {mask}\n\n'
        f'Done in {time.time() - started:.0f} s. The same on your images, in a folder '
        'for each class:\n'
        '    python -m ean_mm new --data DIR',
        soft_wrap=True,
    )
    return 0
