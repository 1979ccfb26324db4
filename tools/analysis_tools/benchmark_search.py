"""Measure the search engine against a loop that evaluates every drawn mask alone.

Three measurements, each side by side in one run:

    search    the whole search, and the naive loop over the masks that it drew
    training  iterations of a supernet and of the network with a fixed mask
    memory    peak memory of a pass with 1, 8, 64 masks, each in a fresh process
"""

import argparse
import copy
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ean_mm.config_types import type_name
from ean_mm.errors import EANError
from ean_mm.fileio import atomic_write
from ean_mm.launch import (
    OptionAction,
    add_hook,
    check,
    explain_errors,
    load_config,
    quiet_runner,
)
from ean_mm.profiling import WARM_UP, time_alternately
from ean_mm.search import MaskEvaluator, MaskSearch, SearchSpace, SearchStorage


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('measure', choices=['search', 'training', 'memory'])
    parser.add_argument('config', help='config of a search')
    parser.add_argument('--checkpoint', help='supernet; random weights without')
    parser.add_argument('--data-root', help='folder to read every data set from')
    parser.add_argument('--steps', type=int, help="steps of the search; the config's")
    parser.add_argument(
        '--naive-masks',
        type=int,
        default=0,
        help='drawn masks that the naive loop evaluates, evenly spread; its time is '
        'scaled to all of them. 0: all',
    )
    parser.add_argument(
        '--iterations', type=int, default=30, help='training iterations of each kind'
    )
    parser.add_argument(
        '--masks', type=int, nargs='+', default=[1, 8, 64], help='masks in a pass'
    )
    parser.add_argument('--threads', type=int, help="torch's threads")
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', help='JSON file for the results')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, metavar='KEY=VALUE'
    )
    parser.add_argument('--worker', type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


class Watch(Hook):
    """Takes the time of the search."""

    def before_search(self, runner: Runner, search: MaskSearch) -> None:
        self.search = search
        self.started = time.perf_counter()

    def after_search(self, runner: Runner, **kwargs: Any) -> None:
        self.seconds = time.perf_counter() - self.started


def prepare(args: argparse.Namespace) -> Config:
    """Read the config, set to begin with the search."""
    cfg = load_config(args.config, args.cfg_options, args.data_root)
    cfg.load_from = args.checkpoint
    for hook in cfg.custom_hooks:
        if type_name(hook) == 'EANSearchHook' and args.steps:
            hook['searcher']['num_steps'] = args.steps
    if args.channels_last:
        add_hook(cfg, 'ChannelsLastHook')
    check(cfg, ('train_dataloader', 'val_dataloader'))
    return cfg


def measure_search(args: argparse.Namespace) -> Dict[str, Any]:
    """Time the search, and the naive loop on the masks that it drew."""
    with tempfile.TemporaryDirectory() as folder:
        cfg = prepare(args)
        cfg.train_cfg.max_epochs, cfg.param_scheduler = 0, None
        runner = quiet_runner(cfg, folder, args.seed)
        watch = Watch()
        runner.register_hook(watch, priority='VERY_LOW')
        runner.train()
        records = SearchStorage(Path(folder) / 'search').read_history()
    search, evaluator = watch.search, watch.search.evaluator
    draws = [
        (search.space.join(entry['mask']), entry['metric'])
        for record in records
        for entry in record['masks']
    ]
    number = min(args.naive_masks or len(draws), len(draws))
    sample = [draws[i * len(draws) // number] for i in range(number)]
    print(
        f'engine: {len(draws)} draws, {evaluator.work.masks} distinct, '
        f'{watch.seconds:.1f} s; naive loop over {number} of them ...',
        flush=True,
    )
    started = time.perf_counter()
    metrics = [evaluate_naively(evaluator, bits) for bits, _ in sample]
    naive_seconds = (time.perf_counter() - started) * len(draws) / number
    equal = sum(
        search.reward.percent(metric) == known
        for metric, (_, known) in zip(metrics, sample)
    )
    work = evaluator.work
    return dict(
        reward_images=len(evaluator.dataset),
        draws=len(draws),
        distinct_masks=work.masks,
        engine_seconds=watch.seconds,
        engine_seconds_by_part=dict(
            blocks=work.block_seconds,
            other_evaluation=work.seconds - work.block_seconds,
            searcher_and_storage=watch.seconds - work.seconds,
        ),
        naive_seconds=naive_seconds,
        naive_masks_timed=number,
        equal_rewards=f'{equal} of {number}',
        ratio=naive_seconds / watch.seconds,
        blocks=work.blocks,
        blocks_of_the_naive_loop=work.naive_blocks / work.masks * len(draws),
        cache_hits=work.cache_hits,
    )


@torch.no_grad()
def evaluate_naively(evaluator: MaskEvaluator, bits: List[int]) -> Dict[str, float]:
    """Evaluate one mask in a pass of its own that decodes every image."""
    evaluator.space.apply(bits)
    evaluator.model.eval()
    metrics = copy.deepcopy(evaluator.evaluator)
    for batch in evaluator.batches.dataloader:
        outputs = evaluator.model.val_step(batch)
        metrics.process(data_samples=outputs, data_batch=batch)
    return metrics.evaluate(len(evaluator.dataset))


def measure_training(args: argparse.Namespace) -> Dict[str, Any]:
    """Time training iterations under random masks and under fixed ones, alternately."""
    with tempfile.TemporaryDirectory() as folder:
        runner = quiet_runner(prepare(args), folder, args.seed)
        model = runner.model.train()
        if args.channels_last:
            model.to(memory_format=torch.channels_last)
        optim_wrapper = runner.build_optim_wrapper(runner.cfg.optim_wrapper)
        batch = next(iter(runner.build_dataloader(runner.cfg.train_dataloader)))
    space = SearchSpace(model)
    generator = torch.Generator().manual_seed(args.seed)
    fixed_mask = [i % 2 for i in range(space.num_bits)]

    def train() -> None:
        model.train_step(batch, optim_wrapper)

    def train_supernet() -> None:
        space.apply(space.random(generator))
        train()

    supernet, fixed = time_alternately(
        [train_supernet, train],
        WARM_UP + args.iterations,
        before=lambda: space.apply(fixed_mask),
    )[:, WARM_UP:]
    return dict(
        iterations=args.iterations,
        supernet_ms=1000 * float(np.median(supernet)),
        fixed_ms=1000 * float(np.median(fixed)),
        ratio=float(np.median(supernet / fixed)),
    )


def measure_memory(args: argparse.Namespace) -> Dict[str, Any]:
    """Run a pass with each number of masks in a process of its own."""
    peaks = {}
    for number in args.masks:
        result = subprocess.run(
            [sys.executable, '-W', 'ignore', *sys.argv, '--worker', str(number)],
            stdout=subprocess.PIPE,
            text=True,
        )
        if result.returncode:
            raise EANError(f'the pass with {number} masks failed, see above')
        peaks[number] = json.loads(result.stdout.splitlines()[-1])
    return dict(peak_mib_by_masks=peaks)


def run_worker(args: argparse.Namespace) -> None:
    """Evaluate random masks in one pass and print the growth of peak memory, in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        runner = quiet_runner(prepare(args), folder, args.seed)
        runner.load_or_resume()
        loader = runner.build_dataloader(runner.cfg.val_dataloader)
        space = SearchSpace(runner.model)
        evaluator = MaskEvaluator(
            runner.model,
            space,
            loader,
            runner.build_evaluator(runner.cfg.val_evaluator),
            image_memory=0,
            activation_memory=0,
        )
        generator = torch.Generator().manual_seed(args.seed)
        masks = {space.random(generator): None for _ in range(100 * args.worker)}
        masks = list(masks)[: args.worker]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        evaluator.evaluate(masks)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps((after - before) / 1024))


def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.worker:
        run_worker(args)
        return
    measure = dict(
        search=measure_search, training=measure_training, memory=measure_memory
    )[args.measure]
    result = dict(
        measure=args.measure,
        config=Path(args.config).name,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        machine=platform.processor() or platform.machine(),
        seed=args.seed,
        **measure(args),
    )
    print(json.dumps(result, indent=2))
    if args.out:
        with atomic_write(args.out) as file:
            file.write(json.dumps(result, indent=2).encode())


if __name__ == '__main__':
    explain_errors(main)
