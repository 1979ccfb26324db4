"""Times of networks, and the memory of their training."""

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmark_networks import TimedNetwork, count, prepare
from benchmark_records import Setting, make_records
from benchmark_report import Record
from ean_mm import CompiledBackbone
from ean_mm.deploy import MEMORY_FORMATS, export
from ean_mm.deploy.runtimes import RUNTIMES, SUFFIXES
from ean_mm.profiling import time_alternately

WARM_UP = 2  # rounds that do not count: the first ones allocate and choose algorithms


class TrainingStep:
    """A training step of a backbone, with a loss on all of its last feature map.

    Args:
        model: The backbone, in training mode.
        precision: ``'f32'``, or ``'bf16'`` for a forward pass under autocast.
    """

    def __init__(self, model: nn.Module, precision: str = 'f32') -> None:
        self.model = model
        self.autocasts = precision == 'bf16'
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4
        )

    def __call__(self, images: Tensor) -> None:
        kind = images.device.type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=self.autocasts):
            features = self.model(images)
        last = features if isinstance(features, Tensor) else features[-1]
        last.float().square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def peak_memory(
    network: TimedNetwork,
    memory_format: str,
    precision: str,
    shape: Sequence[int],
    device: str,
) -> float:
    """Return the MiB that this process, or CUDA, has held in three training steps."""
    model = prepare(network, False, memory_format, device, training=True)
    step = TrainingStep(model, precision)
    images = torch.randn(shape).to(device, memory_format=MEMORY_FORMATS[memory_format])
    for _ in range(3):
        step(images)
    if images.is_cuda:
        return torch.cuda.max_memory_allocated(device) / 2**20
    # Not getrusage's maximum, which begins with that of the parent process.
    status = Path('/proc/self/status').read_text()
    return int(status.partition('VmHWM:')[2].split()[0]) / 1024  # of kB


def in_fresh_process(threads: int, *arguments: Any) -> float:
    """Return :func:`peak_memory` of a process of its own."""
    with ProcessPoolExecutor(
        1, get_context('spawn'), torch.set_num_threads, (threads,)
    ) as process:
        return process.submit(peak_memory, *arguments).result()


def time_rounds(
    calls: Sequence[Tuple[Callable[[Tensor], Any], Tensor]],
    rounds: int,
    rng: np.random.Generator,
    training: bool = False,
) -> np.ndarray:
    """Time networks, each round in a new order; return ms ``(networks, rounds)``."""
    functions = [partial(call, images) for call, images in calls]
    with torch.inference_mode(not training):
        return 1000 * time_alternately(functions, rounds, rng=rng)


class Form(NamedTuple):
    """What networks are timed as."""

    deployed: bool
    memory_format: str
    runtime: str = 'torch'
    precision: str = 'f32'


class Runs:
    """Networks in the runtime of a form.

    Args:
        models: The networks, by what is known of them.
        form: The form; in another runtime than PyTorch they are exported to a folder.
        images: Example images ``(N, C, H, W)``.
        folder: The folder. What is there already is not exported again.
    """

    def __init__(
        self,
        models: Dict[TimedNetwork, nn.Module],
        form: Form,
        images: Tensor,
        folder: str,
    ) -> None:
        self.models = [*models.values()]
        self.form = form
        self.files = []
        if form.runtime not in RUNTIMES:
            return
        for network, model in models.items():
            names = (network.source, network.network, network.label, network.mask)
            name = '_'.join(filter(None, names)).replace(' ', '_')
            self.files.append(f'{folder}/{name}{SUFFIXES[form.runtime]}')
            if not Path(self.files[-1]).exists():
                print(f'exporting {self.files[-1]}', file=sys.stderr)
                export(model, self.files[-1], images)

    def open(self) -> Sequence[Callable[[Tensor], Any]]:
        """Return what is to be called, for as many threads as PyTorch has now."""
        if self.form.runtime == 'compile':
            torch._dynamo.reset()
            return [torch.compile(model, dynamic=False) for model in self.models]
        if self.files:
            options = (self.form.runtime, self.form.precision)
            return [CompiledBackbone(file, *options) for file in self.files]
        return self.models


def measure(
    networks: Sequence[TimedNetwork],
    repeat: int,
    form: Form,
    args: argparse.Namespace,
) -> Iterator[List[Record]]:
    """Build the networks and yield their records, one setting after the other."""
    torch.manual_seed(args.seed + repeat)
    rng = np.random.default_rng(args.seed + repeat)
    in_torch = (form.deployed, form.memory_format)
    models = [prepare(n, *in_torch, args.device, args.training) for n in networks]
    size = (3, args.image_size, args.image_size)
    with tempfile.TemporaryDirectory() as folder:
        by_network = dict(zip(networks, models))
        runs = Runs(by_network, form, torch.randn(2, *size), args.files or folder)
        for batch, threads in product(args.batch, args.threads):
            setting = Setting(*in_torch, batch, threads, args.training, *form[2:])
            # No bar that moves: drawing it would take time from what is timed.
            print(f'repeat {repeat} of {args.repeats}: {setting}', file=sys.stderr)
            torch.set_num_threads(threads)
            images = torch.randn(batch, *size).to(args.device)
            in_format = images.to(memory_format=MEMORY_FORMATS[form.memory_format])
            calls: List[Tuple[Callable[[Tensor], Any], Tensor]]
            if args.training:
                steps = [TrainingStep(model, form.precision) for model in models]
                calls = [(step, in_format) for step in steps]
            else:
                inputs = [images if n.is_reference else in_format for n in networks]
                calls = list(zip(runs.open(), inputs))
            times = time_rounds(calls, WARM_UP + args.rounds, rng, args.training)
            times = times[:, WARM_UP:]
            records = make_records(dict(zip(networks, times)), setting, repeat, rng)
            for network, record in zip(networks, records):
                record.update(count(network, record['deployed'], args.image_size))
                if args.training:
                    of_network = (
                        network,
                        form.memory_format,
                        form.precision,
                        images.shape,
                        args.device,
                    )
                    record['peak_mib'] = in_fresh_process(threads, *of_network)
            yield records
