"""Time training iterations of several configs, alternately in one run.

Prints parameters (those of attention that the mask plugs in), the median time of an
iteration with its quartiles, and the ratio to the first config.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any, Dict

import numpy as np
import torch

from ean_mm.fileio import atomic_write
from ean_mm.launch import (
    add_hook,
    check,
    enable_amp,
    explain_errors,
    load_config,
    quiet_runner,
)
from ean_mm.models import count_parameters
from ean_mm.profiling import WARM_UP, time_alternately


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='+')
    parser.add_argument('--data-root', help='folder to read every data set from')
    parser.add_argument('--iterations', type=int, default=10)
    parser.add_argument('--threads', type=int, help="torch's threads")
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument(
        '--amp', action='store_true', help='time each config in mixed precision, too'
    )
    parser.add_argument('--out', help='JSON file for the results')
    return parser.parse_args()


class Training:
    """A config's model, on a batch of its own.

    Args:
        config: Path of the config.
        args: The command line.
        work_dir: Folder for the runner.
        amp: Whether to train in mixed precision.
    """

    def __init__(
        self, config: str, args: argparse.Namespace, work_dir: str, amp: bool = False
    ) -> None:
        self.name = Path(config).stem + (' --amp' if amp else '')
        cfg = load_config(config, None, args.data_root)
        if amp:
            enable_amp(cfg)
        add_hook(cfg, 'MaskHook')
        check(cfg, ('train_dataloader',))
        runner = quiet_runner(cfg, work_dir, seed=0)
        self.model = runner.model.train()
        if args.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
        self.batch = next(iter(runner.build_dataloader(cfg.train_dataloader)))

    def step(self) -> None:
        """Train an iteration."""
        self.model.train_step(self.batch, self.optim_wrapper)


def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        trainings = [
            Training(config, args, folder, amp)
            for amp in ([False, True] if args.amp else [False])
            for config in args.configs
        ]
        steps = [training.step for training in trainings]
        seconds = time_alternately(steps, WARM_UP + args.iterations)[:, WARM_UP:]
    results = [
        summarize(each, own, seconds[0]) for each, own in zip(trainings, seconds)
    ]
    for result in results:
        print(
            f'{result["config"]:<48} {result["parameters"]:>12,} parameters  '
            f'{result["seconds"]:.3f} s ({result["quartiles"][0]:.3f} to '
            f'{result["quartiles"][1]:.3f})  x {result["ratio"]:.3f}'
        )
    if args.out:
        record = dict(threads=torch.get_num_threads(), results=results)
        with atomic_write(args.out) as file:
            file.write(json.dumps(record, indent=2).encode())


def summarize(training: Training, seconds: Any, first: Any) -> Dict[str, Any]:
    """Return the numbers of one config.

    Args:
        training: The training of the config.
        seconds: Of each iteration.
        first: The same of the first config.
    """
    low, median, high = statistics.quantiles(seconds, n=4)
    return dict(
        config=training.name,
        parameters=count_parameters(training.model),
        seconds=median,
        quartiles=[low, high],
        ratio=float(np.median(seconds / first)),
    )


if __name__ == '__main__':
    explain_errors(main)
