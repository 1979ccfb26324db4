"""Time networks with attention beside the plain network, alternately in one process.

Every round of a setting (as trained or deployed, memory format, batch size, threads)
runs each network once on the same images, in an order of its own. Reported is

    RTI = (T(attention network) - T(plain)) / T(plain) * 100 %

as the median over the rounds, times being compared within a round only, and a 95 %
bootstrap interval. The networks of mmpretrain (and timm) are timed in every round as
their users run them, not deployed and contiguous; their RTI is over their own plain
network. Tables and figures merge repeats: the median, and the widest of the intervals.
Weights are random. A FLOP is a multiplication with an addition, for one image.
"""

import argparse
import importlib.util
import io
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import cycle, product
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import mmpretrain.models
import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mmengine.analysis import FlopAnalyzer, parameter_count
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from ean_mm import EANResNet, Mask
from ean_mm.errors import EANError
from ean_mm.fileio import atomic_write
from ean_mm.launch import explain_errors
from ean_mm.models.ean_resnet import MEMORY_FORMATS
from ean_mm.visualization.mask_plot import INK, PLAIN, PLUGGED

RESNET50_BLOCKS = (3, 4, 6, 3)
DEFAULT_MASKS = dict(
    SGE='masks/resnet50_sge_imagenet.json', DIA='masks/resnet50_dia_imagenet.json'
)
HALF = '101-1010-101010-101'
WARM_UP = 2  # rounds that do not count: the first ones allocate and choose algorithms
RESAMPLES = 2000
COLORS = {
    'mmpretrain SEResNet': INK,
    'timm SEResNet': '#5b6777',
    'unshared': '#98a1ae',
    'shared': PLAIN,
}
MASK_COLORS = (PLUGGED, '#e9a23b', '#2a9d8f', '#7353ba')

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

    def __str__(self) -> str:
        form = 'deployed' if self.deployed else 'as trained'
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
        value = getattr(args, name)
        if min(value if isinstance(value, list) else [value]) < 1:
            raise EANError(f'--{name.replace("_", "-")} must be at least 1')
    if args.figure:
        known = Figure().canvas.get_supported_filetypes()
        if Path(args.figure).suffix[1:].lower() not in known:
            raise EANError(f'--figure {args.figure}: name a .png, .svg or .pdf file')
    for path in filter(None, (args.out, args.figure)):
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=Path(path).parent).close()
        except OSError as error:
            raise EANError(f'{path} cannot be written: {error.strerror}') from error
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
    if not timm.is_model(name):
        return None
    return partial(timm.create_model, name, num_classes=0, global_pool='')


def prepare(
    network: Network, deployed: bool, memory_format: str, device: str
) -> nn.Module:
    """Build a network for inference; a reference in the form its users run it in."""
    model = network.build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    model.to(device).eval()
    if not network.is_reference:
        if deployed:
            model.switch_to_deploy(memory_format)
        model.to(memory_format=MEMORY_FORMATS[memory_format])
    return model


@cache
@torch.no_grad()
def count(network: Network, deployed: bool, image_size: int) -> Dict[str, int]:
    """Count the parameters in use, and the FLOPs for an image."""
    model = prepare(network, deployed, 'contiguous', 'cpu')
    parameters = parameter_count(model)['']
    if isinstance(model, EANResNet) and not deployed:
        # less the attention that no bit plugs in
        parameters -= parameter_count(model.attentions)['']
        parameters += model.num_attention_parameters()
    flops = FlopAnalyzer(model, (torch.zeros(1, 3, image_size, image_size),))
    flops.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return dict(parameters=parameters, flops=flops.total())


def draw_orders(number: int, rounds: int, rng: np.random.Generator) -> List[List[int]]:
    """Draw the order of ``number`` networks in each round."""
    return [rng.permutation(number).tolist() for _ in range(rounds)]


@torch.inference_mode()
def time_rounds(
    calls: Sequence[Tuple[nn.Module, Tensor]], orders: Sequence[Sequence[int]]
) -> np.ndarray:
    """Time networks on their images; return ms of shape ``(networks, rounds)``."""
    milliseconds = np.empty((len(calls), len(orders)))
    for column, order in enumerate(orders):
        for row in order:
            model, images = calls[row]
            started = time.perf_counter()
            model(images)
            if images.is_cuda:
                torch.cuda.synchronize(images.device)
            milliseconds[row, column] = 1000 * (time.perf_counter() - started)
    return milliseconds


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
    """Make a record of each network.

    Args:
        times: Milliseconds of each network, round by round.
        setting: The setting that they were measured in.
        repeat: Number of the repetition, from 1.
        rng: For the bootstrap.
    """
    plain = {network.source: network for network in times if not network.attention}
    records = []
    for network, own in times.items():
        record = dict(label=network.label, **vars(network), setting=str(setting))
        del record['build']
        record.update(vars(setting), repeat=repeat)
        if network.is_reference:
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
    models = [prepare(n, deployed, memory_format, args.device) for n in networks]
    for batch, threads in product(args.batch, args.threads):
        setting = Setting(deployed, memory_format, batch, threads)
        # No bar that moves: drawing it would take time from what is timed.
        print(f'repeat {repeat} of {args.repeats}: {setting}', file=sys.stderr)
        torch.set_num_threads(threads)
        images = torch.randn(batch, 3, args.image_size, args.image_size)
        images = images.to(args.device)
        in_format = images.to(memory_format=MEMORY_FORMATS[memory_format])
        inputs = [images if n.is_reference else in_format for n in networks]
        orders = draw_orders(len(networks), WARM_UP + args.rounds, rng)
        milliseconds = time_rounds(list(zip(models, inputs)), orders)[:, WARM_UP:]
        records = make_records(dict(zip(networks, milliseconds)), setting, repeat, rng)
        for network, record in zip(networks, records):
            record.update(count(network, record['deployed'], args.image_size))
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
    for form in product(repeats, deployed, args.memory_format):
        for records in measure(networks, *form, args):
            result['records'] += records
            if args.out:
                write(args.out, json.dumps(result, indent=1).encode())
    return result


def read(path: str) -> Dict[str, Any]:
    """Read a result that :func:`run` has written."""
    try:
        result = json.loads(Path(path).read_text())
        if merge(result['records']) and result['network'] and result['image_size']:
            return result
    except OSError as error:
        raise EANError(f'{path} cannot be read: {error.strerror}') from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EANError(f'{path} is not a result of this tool') from error
    raise EANError(f'{path} holds no measurement yet')


def write(path: str, content: bytes) -> None:
    """Write a file, or raise an error of one line."""
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise EANError(f'{path} cannot be written: {error.strerror}') from error


def merge(records: Sequence[Record]) -> Dict[str, Dict[str, Record]]:
    """Merge repeats, by setting and label: medians, and the widest of the intervals."""
    groups: Dict[str, Dict[str, List[Record]]] = {}
    for record in records:
        group = groups.setdefault(record['setting'], {})
        group.setdefault(record['label'], []).append(record)
    return {
        setting: {label: _merge_repeats(repeats) for label, repeats in group.items()}
        for setting, group in groups.items()
    }


def _merge_repeats(repeats: Sequence[Record]) -> Record:
    def median(key: str) -> float:
        return statistics.median(record[key] for record in repeats)

    def widest(key: str) -> List[float]:
        lows, highs = zip(*(record[key] for record in repeats))
        return [min(lows), max(highs)]

    merged = dict(repeats[0], median_ms=median('median_ms'))
    merged['quartiles_ms'] = widest('quartiles_ms')
    merged['ratio_to'] = {
        name: statistics.median(r['ratio_to'][name]['ratio'] for r in repeats)
        for name in repeats[0]['ratio_to']
    }
    if merged['rti'] is not None:
        merged.update(rti=median('rti'), rti_interval=widest('rti_interval'))
    return merged


def show(result: Dict[str, Any]) -> None:
    """Print a table of the networks, and one of the times for each setting."""
    console = Console()
    sizes: Dict[str, Dict[bool, List[str]]] = {}
    masks = {}
    for record in result['records']:
        millions, billions = record['parameters'] / 1e6, record['flops'] / 1e9
        by_form = sizes.setdefault(record['label'], {})
        by_form[record['deployed']] = [f'{millions:.2f} M', f'{billions:.2f} G']
        masks[record['label']] = record['mask']
    table = _table('Networks', ['parameters', 'FLOPs', 'deployed', 'FLOPs', 'mask'])
    for label, by_form in sizes.items():
        cells = by_form.get(False, ['', '']) + by_form.get(True, ['', ''])
        table.add_row(label, *cells, masks[label])
    console.print(table)
    for setting, group in merge(result['records']).items():
        others = next(iter(group.values()))['ratio_to']
        heads = [f'x {name.split()[1]}' for name in others]
        table = _table(setting, ['ms', 'RTI, %', *heads])
        if others:
            table.caption = "x: times the time of mmpretrain's, as its users run it"
        for label, record in group.items():
            low, high = record['quartiles_ms']
            rti = ''
            if record['rti'] is not None:
                rti = '{:+.1f} ({:+.1f} to {:+.1f})'.format(
                    record['rti'], *record['rti_interval']
                )
            table.add_row(
                label,
                f'{record["median_ms"]:.1f} ± {(high - low) / 2:.1f}',
                rti,
                *(f'{ratio:.3f}' for ratio in record['ratio_to'].values()),
            )
        console.print(table)


def _table(title: str, heads: Sequence[str]) -> Table:
    table = Table(
        title=f'\n{title}',
        title_style='bold',
        title_justify='left',
        caption_justify='left',
        box=None,
        pad_edge=False,
    )
    table.add_column(min_width=19)
    for head in heads:
        table.add_column(head, justify='right')
    return table


def draw(result: Dict[str, Any]) -> Figure:
    """Draw the RTI with its intervals: a column an attention, a group a setting."""
    groups = merge(result['records'])
    records = [record for group in groups.values() for record in group.values()]
    ours = [record for record in records if record['source'] == 'ean_mm']
    kinds = [kind for kind in dict.fromkeys(r['attention'] for r in ours) if kind]
    # A setting's bars from top to bottom: what is known first, the masks last.
    found = {_bar(record) for record in records if record['attention'] in kinds}
    masks = sorted({record['variant'] for record in ours if record['mask']})
    colors = {**COLORS, **dict(zip(masks, cycle(MASK_COLORS)))}
    names = [name for name in colors if name in found]
    step = len(names) + 1

    figure = Figure(
        figsize=(3 * len(kinds) + 2.4, 0.2 * step * len(groups) + 1.4),
        layout='constrained',
    )
    columns = figure.subplots(1, len(kinds), sharex=True, squeeze=False)[0]
    handles = {}
    for ax, kind in zip(columns, kinds):
        for row, group in enumerate(groups.values()):
            bars = {_bar(r): r for r in group.values() if r['attention'] == kind}
            top = row * step + (len(names) - len(bars)) / 2
            for y, name in enumerate(filter(bars.get, names)):
                handles[name] = _draw_bar(ax, top + y, bars[name], colors[name])
        ax.set_ylim(step * len(groups) - 1, -1)
        ax.set_title(kind, loc='left', fontweight='bold', color=INK)
        ax.set_yticks([row * step + step / 2 - 1 for row in range(len(groups))], [])
        ax.axvline(0, color=INK, lw=0.8)
        ax.spines[['top', 'right', 'left']].set_visible(False)
        ax.tick_params(axis='y', length=0)
        ax.margins(x=0.15)
    columns[0].set_yticklabels([name.replace(', batch', '\nbatch') for name in groups])
    figure.legend(
        [handles[name] for name in names],
        names,
        loc='outside upper left',
        ncols=len(names) if len(kinds) > 1 else 2,
        frameon=False,
    )
    what = '{network}, {image_size} x {image_size}'.format(**result)
    figure.supxlabel(
        f'RTI: more time than the plain network, % ({what})', fontsize='medium'
    )
    return figure


def _draw_bar(ax: Axes, y: float, record: Record, color: str) -> Artist:
    low, high = record['rti_interval']
    bar = ax.barh(y, record['rti'], 0.9, color=color)
    ax.plot([low, high], [y, y], color=INK, lw=1)
    ax.annotate(
        f'{record["rti"]:+.1f}',
        (max(high, 0), y),
        xytext=(4, 0),
        textcoords='offset points',
        va='center',
        fontsize=8,
        color=INK,
    )
    return bar


def _bar(record: Record) -> str:
    """Name a record's bar, the same for every attention."""
    return record['variant'] if record['source'] == 'ean_mm' else record['label']


def main() -> None:
    args = parse_args()
    check(args)
    result = read(args.source) if args.source else run(args)
    show(result)
    if args.figure:
        content = io.BytesIO()
        draw(result).savefig(content, dpi=150, format=Path(args.figure).suffix[1:])
        write(args.figure, content.getvalue())


if __name__ == '__main__':
    explain_errors(main)
