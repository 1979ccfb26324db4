"""Time networks with attention beside the plain network, alternately in one process.

Every round of a setting (as trained or deployed, memory format, batch size, threads)
runs each network once on the same images, in an order of its own. Reported is

    RTI = (T(attention network) - T(plain)) / T(plain) * 100 %

as the median over the rounds, times being compared within a round only, and a 95 %
bootstrap interval. The networks of mmpretrain (and timm) are timed in every round as
their users run them, not deployed and contiguous; their RTI is over their own plain
network. Weights are random.

With --training a training step (forward, backward, SGD with momentum) is timed instead,
of all networks in the setting's memory format, and its peak memory is measured: the
resident set of a fresh process after three steps, or what CUDA has allocated.

Tables and figures merge repeats: the median, and the hull of the repeats' intervals.
After "±" is half the distance between the quartiles of the times, merged likewise.
A FLOP is a multiplication with an addition, for one image. Elementwise products and
pooling count as none, except adaptive average pooling, as in mmpretrain's SE.
"""

import argparse
import importlib.util
import io
import json
import os
import platform
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import mmpretrain.models
import numpy as np
import torch
from torch import Tensor, nn

from benchmark_plot import draw_benchmark
from benchmark_report import read, show
from ean_mm import EANResNet, Mask
from ean_mm.errors import EANError
from ean_mm.fileio import atomic_write, require_folder
from ean_mm.launch import explain_errors
from ean_mm.models import count_parameters
from ean_mm.models.masked_backbone import MEMORY_FORMATS
from ean_mm.profiling import count_flops
from ean_mm.visualization.picture import require_picture

RESNET50_BLOCKS = (3, 4, 6, 3)
DEFAULT_MASKS = dict(
    SGE='masks/resnet50_sge_imagenet.json', DIA='masks/resnet50_dia_imagenet.json'
)
HALF = '101-1010-101010-101'
WARM_UP = 2  # rounds that do not count: the first ones allocate and choose algorithms
RESAMPLES = 2000

Record = Dict[str, Any]


@dataclass(frozen=True)
class Network:
    """A network to time.

    Args:
        source: The package it is from: ``'ean_mm'``, ``'mmpretrain'`` or ``'timm'``.
        network: Its name there, as ``'SEResNet-50'``.
        variant: ``'plain'``, ``'unshared'``, ``'shared'`` or a name of the mask.
        attention: Short name of its attention, as ``'SE'``; None if it is plain.
        mask: Its mask, for a variant of that kind.
        build: Makes it, with random weights.
    """

    source: str
    network: str
    variant: str
    attention: Optional[str] = None
    mask: Optional[str] = None
    build: Optional[partial] = field(default=None, compare=False)

    @property
    def is_reference(self) -> bool:
        """Whether it runs as the users of another package run it."""
        return self.source != 'ean_mm'

    @property
    def label(self) -> str:
        """Name in tables and figures."""
        if self.is_reference:
            return f'{self.source} {self.network.split("-")[0]}'
        return ' '.join(filter(None, (self.attention, self.variant)))


@dataclass(frozen=True)
class Setting:
    """What the networks of a round have in common."""

    deployed: bool
    memory_format: str
    batch: int
    threads: int
    training: bool = False

    def __str__(self) -> str:
        form = 'deployed' if self.deployed else 'as trained'
        form = 'training' if self.training else form
        threads = f'{self.threads} thread{"s" * (self.threads > 1)}'
        layout = self.memory_format.replace('_', ' ')
        return f'{form}, {layout}, batch {self.batch}, {threads}'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--depth', type=int, default=50)
    add('--image-size', type=int, default=224)
    add('--attention', nargs='+', default=['SE', 'SGE', 'DIA'], metavar='NAME')
    add(
        '--masks',
        nargs='+',
        default=[],
        metavar='MASK',
        help='bits or mask files; default: the published masks for SGE and DIA, a '
        'half-sparse one for others, resized to the depth',
    )
    add('--batch', type=int, nargs='+', default=[1, 8], metavar='N')
    add(
        '--threads',
        type=int,
        nargs='+',
        default=[torch.get_num_threads()],
        metavar='N',
        help='numbers of CPU threads; default: %(default)s',
    )
    add(
        '--memory-format',
        nargs='+',
        choices=MEMORY_FORMATS,
        default=list(MEMORY_FORMATS),
        help='default: both',
    )
    add('--deployed', choices=['yes', 'no', 'both'], default='both')
    add('--training', action='store_true', help='time training steps')
    add(
        '--references',
        nargs='*',
        choices=['mmpretrain', 'timm'],
        help='whose ResNet and SEResNet to time beside them, none if nothing follows; '
        'default: mmpretrain, and timm where it is installed',
    )
    add('--rounds', type=int, default=20, help='runs of each network in a setting')
    add('--repeats', type=int, default=3, help='repetitions of the whole, weights too')
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--seed', type=int, default=0)
    add('--out', metavar='FILE.json', help='a record a measurement')
    add('--figure', metavar='FILE.png', help='bar chart of the RTI: .png, .svg, .pdf')
    add(
        '--from',
        dest='source',
        metavar='FILE.json',
        help='show the results in a file of --out; measure nothing',
    )
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    """Check what would otherwise fail late or in many lines."""
    for name in ('image_size', 'batch', 'threads', 'rounds', 'repeats'):
        if np.min(getattr(args, name)) < 1:
            raise EANError(f'--{name.replace("_", "-")} must be at least 1')
    if args.figure:
        require_picture(args.figure)
    if args.out:
        require_folder(args.out)
    if args.depth not in EANResNet.arch_settings:
        known = ', '.join(map(str, EANResNet.arch_settings))
        raise EANError(f'--depth {args.depth} is unknown; there are {known}')
    has_timm = importlib.util.find_spec('timm') is not None
    if args.references is None:
        args.references = ['mmpretrain', *['timm'] * has_timm]
    elif 'timm' in args.references and not has_timm:
        raise EANError('--references timm: timm is not installed')
    try:
        torch.empty(0, device=args.device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise EANError(f'--device {args.device} cannot be used: {reason}') from error
    if args.training and args.device == 'cpu' and not Path('/proc').exists():
        raise EANError('--training on a CPU needs the /proc of Linux')


def list_networks(args: argparse.Namespace) -> List[Network]:
    """List the networks to time, each source's plain one before its others."""
    _, blocks = EANResNet.arch_settings[args.depth]
    name = f'EANResNet-{args.depth}'
    make = partial(EANResNet, args.depth)
    networks = [Network('ean_mm', name, 'plain', build=make)]
    for kind in dict.fromkeys(n.removesuffix('Attention') for n in args.attention):
        shared = partial(make, attention=dict(type=f'{kind}Attention'))
        unshared = partial(shared, share='block')
        networks.append(Network('ean_mm', name, 'unshared', kind, build=unshared))
        networks.append(Network('ean_mm', name, 'shared', kind, build=shared))
        masks = [Mask.parse(text, blocks, name) for text in args.masks]
        if not masks:
            default = Mask.parse(DEFAULT_MASKS.get(kind, HALF), RESNET50_BLOCKS)
            masks = [default.resize(blocks)]
        for number, mask in enumerate(masks, 1):
            variant = f'mask {number}' if len(masks) > 1 else 'mask'
            build = partial(shared, mask=mask)
            networks.append(Network('ean_mm', name, variant, kind, str(mask), build))
    for source in args.references:
        for kind, variant in ((None, 'plain'), ('SE', 'unshared')):
            name = f'{kind or ""}ResNet'
            build = _reference(source, name, args.depth)
            if build is not None:
                name = f'{name}-{args.depth}'
                networks.append(Network(source, name, variant, kind, build=build))
    return networks


def _reference(source: str, name: str, depth: int) -> Optional[partial]:
    """Return what builds another package's backbone, None if it has no such depth."""
    if source == 'mmpretrain':
        cls = getattr(mmpretrain.models, name)
        return partial(cls, depth) if depth in cls.arch_settings else None
    import timm

    name = f'{name.lower()}{depth}'
    build = partial(timm.create_model, name, num_classes=0, global_pool='')
    return build if timm.is_model(name) else None


def prepare(
    network: Network,
    deployed: bool,
    memory_format: str,
    device: str,
    training: bool = False,
) -> nn.Module:
    """Build a network; for inference, a reference in the form its users run it in."""
    model = network.build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    model.to(device).train(training)
    if deployed and not network.is_reference:
        model.switch_to_deploy(memory_format)
    if training or not network.is_reference:
        model.to(memory_format=MEMORY_FORMATS[memory_format])
    return model


class TrainingStep:
    """A training step of a backbone, with a loss on all of its last feature map.

    Args:
        model: The backbone, in training mode.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4
        )

    def __call__(self, images: Tensor) -> None:
        features = self.model(images)
        last = features if isinstance(features, Tensor) else features[-1]
        last.square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def peak_memory(
    network: Network, memory_format: str, shape: Sequence[int], device: str
) -> float:
    """Return the MiB that this process, or CUDA, has held in three training steps."""
    step = TrainingStep(prepare(network, False, memory_format, device, training=True))
    images = torch.randn(shape).to(device, memory_format=MEMORY_FORMATS[memory_format])
    for _ in range(3):
        step(images)
    if images.is_cuda:
        return torch.cuda.max_memory_allocated(device) / 2**20
    # Not getrusage's maximum, which begins with that of the parent process.
    status = Path('/proc/self/status').read_text()
    return int(re.search(r'VmHWM:\s+(\d+) kB', status).group(1)) / 1024


@cache
@torch.no_grad()
def count(network: Network, deployed: bool, image_size: int) -> Dict[str, int]:
    """Count the parameters in use, and the FLOPs for an image."""
    model = prepare(network, deployed, 'contiguous', 'cpu')
    flops = count_flops(model, torch.zeros(1, 3, image_size, image_size))
    return dict(parameters=count_parameters(model), flops=flops)


def time_rounds(
    calls: Sequence[Tuple[Callable[[Tensor], Any], Tensor]],
    rounds: int,
    rng: np.random.Generator,
    training: bool = False,
) -> np.ndarray:
    """Time networks, each round in a new order; return ms ``(networks, rounds)``."""
    milliseconds = np.empty((len(calls), rounds))
    with torch.inference_mode(not training):
        for column in range(rounds):
            for row in rng.permutation(len(calls)):
                call, images = calls[row]
                started = time.perf_counter()
                call(images)
                if images.is_cuda:
                    torch.cuda.synchronize(images.device)
                milliseconds[row, column] = 1000 * (time.perf_counter() - started)
    return milliseconds


def in_fresh_process(threads: int, *arguments: Any) -> float:
    """Return :func:`peak_memory` of a process of its own."""
    with ProcessPoolExecutor(
        1, get_context('spawn'), torch.set_num_threads, (threads,)
    ) as process:
        return process.submit(peak_memory, *arguments).result()


def paired_ratio(
    times: Sequence[float], others: Sequence[float], rng: np.random.Generator
) -> Tuple[float, List[float]]:
    """Return the median of the rounds' ratios and its 95 % bootstrap interval."""
    ratios = np.asarray(times) / np.asarray(others)
    samples = rng.choice(ratios, (RESAMPLES, len(ratios)))
    interval = np.percentile(np.median(samples, axis=1), [2.5, 97.5])
    return float(np.median(ratios)), interval.tolist()


def make_records(
    times: Dict[Network, Sequence[float]],
    setting: Setting,
    repeat: int,
    rng: np.random.Generator,
) -> List[Record]:
    """Make a record of each network from its milliseconds, round by round."""
    plain = {network.source: network for network in times if not network.attention}
    records = []
    for network, own in times.items():
        record = dict(label=network.label, **vars(network), setting=str(setting))
        del record['build']
        record.update(vars(setting), repeat=repeat)
        if network.is_reference and not setting.training:
            record.update(deployed=False, memory_format='contiguous')
        record['median_ms'] = float(np.median(own))
        record['quartiles_ms'] = np.percentile(own, [25, 75]).tolist()
        record['rti'] = record['rti_interval'] = None
        if network.attention:
            ratio, interval = paired_ratio(own, times[plain[network.source]], rng)
            record['rti'] = 100 * (ratio - 1)
            record['rti_interval'] = [100 * (bound - 1) for bound in interval]
        record['ratio_to'] = {
            other.label: dict(
                zip(('ratio', 'interval'), paired_ratio(own, theirs, rng))
            )
            for other, theirs in times.items()
            if other.source == 'mmpretrain'
        }
        record['times_ms'] = [round(float(x), 4) for x in own]
        records.append(record)
    return records


def measure(
    networks: Sequence[Network],
    repeat: int,
    deployed: bool,
    memory_format: str,
    args: argparse.Namespace,
) -> Iterator[List[Record]]:
    """Build the networks and yield their records, one setting after the other."""
    torch.manual_seed(args.seed + repeat)
    rng = np.random.default_rng(args.seed + repeat)
    form = (deployed, memory_format)
    models = [prepare(n, *form, args.device, args.training) for n in networks]
    for batch, threads in product(args.batch, args.threads):
        setting = Setting(*form, batch, threads, args.training)
        # No bar that moves: drawing it would take time from what is timed.
        print(f'repeat {repeat} of {args.repeats}: {setting}', file=sys.stderr)
        torch.set_num_threads(threads)
        shape = (batch, 3, args.image_size, args.image_size)
        images = torch.randn(shape).to(args.device)
        in_format = images.to(memory_format=MEMORY_FORMATS[memory_format])
        if args.training:
            calls = [(TrainingStep(model), in_format) for model in models]
        else:
            inputs = [images if n.is_reference else in_format for n in networks]
            calls = list(zip(models, inputs))
        times = time_rounds(calls, WARM_UP + args.rounds, rng, args.training)
        times = times[:, WARM_UP:]
        records = make_records(dict(zip(networks, times)), setting, repeat, rng)
        for network, record in zip(networks, records):
            record.update(count(network, record['deployed'], args.image_size))
            if args.training:
                of_network = (network, memory_format, shape, args.device)
                record['peak_mib'] = in_fresh_process(threads, *of_network)
        yield records


def run(args: argparse.Namespace) -> Dict[str, Any]:
    """Measure everything; the output file grows with every setting."""
    networks = list_networks(args)
    machine = f'{platform.machine()}, {os.cpu_count()} CPUs'
    if torch.device(args.device).type == 'cuda':
        machine = torch.cuda.get_device_name(args.device)
    result: Dict[str, Any] = dict(
        network=networks[0].network,
        image_size=args.image_size,
        rounds=args.rounds,
        seed=args.seed,
        machine=machine,
        torch=torch.__version__,
        records=[],
    )
    repeats = range(1, args.repeats + 1)
    deployed = dict(yes=[True], no=[False], both=[False, True])[args.deployed]
    if args.training:
        deployed = [False]
    for form in product(repeats, deployed, args.memory_format):
        for records in measure(networks, *form, args):
            result['records'] += records
            if args.out:
                write(args.out, json.dumps(result, indent=1).encode())
    return result


def write(path: str, content: bytes) -> None:
    """Write a file, or raise an error of one line."""
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise EANError(f'{path} cannot be written: {error.strerror}') from error


def main() -> None:
    args = parse_args()
    check(args)
    result = read(args.source) if args.source else run(args)
    show(result)
    if args.figure:
        content = io.BytesIO()
        draw_benchmark(result).savefig(
            content, dpi=150, format=Path(args.figure).suffix[1:]
        )
        write(args.figure, content.getvalue())


if __name__ == '__main__':
    explain_errors(main)
