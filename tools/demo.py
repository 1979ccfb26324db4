"""Find out on handwritten digits in which blocks attention is worth its cost.

Trains ResNet-20 with SE attention for a while under each of some masks, says what
attention in each block brings, then trains the plain network, the one with attention in
every block and the one with the recommended mask, and compares them. A minute or two on
two CPU cores; no download.
"""

import argparse
import contextlib
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any, Dict, List

from mmengine.config import Config
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from ean_mm import Mask, RichProgressHook
from ean_mm.effects import Effects, print_effects, read_effects
from ean_mm.launch import OptionAction, add_hook, explain_errors
from ean_mm.models import count_parameters
from ean_mm.visualization import draw_effects

CONFIGS = Path(__file__).parents[1] / 'configs' / 'ean'
STEPS = 4
"""steps of four masks each, two thirds of what the config has, to end in a minute"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work-dir', default='work_dirs/demo', help='folder for all that it writes'
    )
    parser.add_argument(
        '--seeds', type=int, default=2, help='trainings of each network in the table'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        default={},
        metavar='KEY=VALUE',
        help='override the configs, as train_cfg.max_epochs=2',
    )
    return parser.parse_args()


class Demo:
    """Runs the configs of the digits with bars in place of logs.

    Args:
        work_dir: Folder for logs, checkpoints, the mask file and the picture.
        options: What to override in every config.
    """

    def __init__(self, work_dir: Path, options: Dict[str, Any]) -> None:
        self.work_dir = work_dir
        self.options = options
        self.console = Console()
        self._silence = open(os.devnull, 'w')  # the loggers hold on to it

    def build_runner(self, config: str, name: str, seed: int, **options: Any) -> Runner:
        """Build the runner of a config; its log goes to its work dir alone."""
        cfg = Config.fromfile(CONFIGS / config)
        cfg.merge_from_dict({**options, **self.options})
        folder = name.replace(' ', '_')
        cfg.work_dir = str(self.work_dir / folder)
        cfg.experiment_name = f'{folder}_{time.time_ns()}'
        cfg.randomness = dict(seed=seed)
        cfg.default_hooks.checkpoint.interval = -1  # only the last one
        add_hook(cfg, 'ChannelsLastHook')
        with contextlib.redirect_stdout(self._silence):
            runner = Runner.from_cfg(cfg)
        bar = RichProgressHook(f'{name}, seed {seed}', self.console)
        runner.register_hook(bar, priority='VERY_LOW')
        return runner

    def search(self) -> Mask:
        """Train masks for a while and recommend one."""
        config = 'resnet20_se_search-by-training_digits.py'
        options = {'custom_hooks.1.searcher.num_steps': STEPS}
        runner = self.build_runner(config, 'search', seed=0, **options)
        runner.train()
        return Mask.from_file(self.work_dir / 'search' / 'mask_backbone.json')

    def draw(self, effects: Effects) -> Path:
        """Draw what attention in each block brings."""
        path = self.work_dir / 'effects.png'
        draw_effects(effects).savefig(path, dpi=120)
        return path

    def train(self, name: str, seeds: int, **options: Any) -> Dict[str, Any]:
        """Train a network from scratch, once a seed, and test it."""
        accuracies = []
        for seed in range(seeds):
            runner = self.build_runner('resnet20_se_digits.py', name, seed, **options)
            runner.train()
            accuracies.append(runner.test()['accuracy/top1'])
        backbone = runner.model.backbone
        return dict(
            network=name,
            mask=str(backbone.mask),
            accuracies=accuracies,
            parameters=count_parameters(runner.model),
            plugged=backbone.mask.num_connections,
            blocks=len(backbone.mask.bits),
            checkpoint=Path(runner.work_dir, 'last_checkpoint').read_text(),
        )


def show(console: Console, results: List[Dict[str, Any]]) -> None:
    """Print the table."""
    seeds = len(results[0]['accuracies'])
    table = Table(
        title=f'ResNet-20, SE attention, digits: 360 test images, {seeds} seeds'
    )
    table.add_column('network', no_wrap=True)
    for column in ('accuracy %', 'parameters', 'plugged blocks', 'mask'):
        table.add_column(column, justify='right')
    for result in results:
        spread = f' ± {statistics.stdev(result["accuracies"]):.2f}' if seeds > 1 else ''
        table.add_row(
            result['network'],
            f'{statistics.mean(result["accuracies"]):.2f}{spread}',
            f'{result["parameters"]:,}',
            f'{result["plugged"]} of {result["blocks"]}',
            result['mask'],
        )
    console.print(table)


def main() -> None:
    args = parse_args()
    started = time.time()
    demo = Demo(Path(args.work_dir), args.cfg_options)
    demo.console.print('Searching where ResNet-20 needs SE attention to read digits')
    mask = demo.search()
    effects = read_effects(mask.info['effects'])
    picture = demo.draw(effects)
    print_effects(effects, demo.console)
    results = [
        demo.train(
            'plain',
            args.seeds,
            **{'model.backbone.attention': None, 'model.backbone.mask': 'none'},
        ),
        demo.train(
            'attention everywhere', args.seeds, **{'model.backbone.mask': 'all'}
        ),
        demo.train(
            'recommended mask', args.seeds, **{'model.backbone.mask': str(mask)}
        ),
    ]
    show(demo.console, results)
    summary = demo.work_dir / 'results.json'
    summary.write_text(json.dumps(results, indent=2))
    paths = {
        'mask': demo.work_dir / 'search' / 'mask_backbone.json',
        'picture': picture,
        'table': summary,
        **{result['network']: result['checkpoint'] for result in results},
    }
    for name, path in paths.items():
        demo.console.print(f'{name:>22}: {path}', soft_wrap=True, highlight=False)
    demo.console.print(f'Done in {time.time() - started:.0f} s')


if __name__ == '__main__':
    explain_errors(main)
