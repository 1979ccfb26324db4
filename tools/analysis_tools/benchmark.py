"""Time networks with attention beside the plain network, alternately in one process.

Every round of a setting (as trained or deployed, memory format, batch size, threads)
runs each network once on the same images, in an order of its own. Reported is

    RTI = (T(attention network) - T(plain)) / T(plain) * 100 %

as the median over the rounds, times being compared within a round only, and a 95 %
bootstrap interval. The networks of mmpretrain (and timm) are timed in every round as
their users run them, not deployed and contiguous; their RTI is over their own plain
network. With --runtime all networks run in OpenVINO, ONNX Runtime or torch.compile.
Weights are random.

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
from itertools import product
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import torch

from benchmark_networks import TimedNetwork, list_networks
from benchmark_plot import draw_benchmark
from benchmark_report import read, show
from benchmark_timing import Form, measure
from ean_mm import EANResNet
from ean_mm.deploy import MEMORY_FORMATS
from ean_mm.deploy.runtimes import RUNTIMES, require_runtime
from ean_mm.errors import EANError
from ean_mm.fileio import atomic_write, require_folder
from ean_mm.launch import explain_errors
from ean_mm.visualization.picture import require_picture


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
        '--runtime',
        nargs='+',
        choices=['torch', *RUNTIMES, 'compile'],
        default=['torch'],
        help='what runs the networks, those of --references too: all but torch run '
        'ours deployed and contiguous; compile is torch.compile with its own backend; '
        'default: %(default)s',
    )
    add(
        '--precision',
        nargs='+',
        choices=['f32', 'bf16'],
        default=['f32'],
        help='in OpenVINO, and of --training; default: %(default)s',
    )
    add('--training', action='store_true', help='time training steps')
    add(
        '--references',
        nargs='*',
        choices=['mmpretrain', 'timm', 'wrapper'],
        help='whose ResNet and SEResNet to time beside them, none if nothing follows; '
        "wrapper: mmpretrain's in EANWrapper; default: mmpretrain, and timm where it "
        'is installed',
    )
    add(
        '--networks',
        nargs='+',
        metavar='LABEL',
        help="which of these networks to time, as 'SE mask' or 'timm SEResNet'; the "
        'plain ones are always timed; default: all',
    )
    add(
        '--files',
        metavar='FOLDER',
        help='where to keep what is exported for --runtime, to be used in the next '
        'repeat or run with the same code; default: nowhere, each repeat exports',
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
    if args.training and args.runtime != ['torch']:
        raise EANError('--training is timed with --runtime torch alone')
    for runtime in set(args.runtime) & set(RUNTIMES):
        for precision in args.precision if runtime == 'openvino' else ['f32']:
            require_runtime(runtime, precision)
    try:
        torch.empty(0, device=args.device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise EANError(f'--device {args.device} cannot be used: {reason}') from error
    if args.training and args.device == 'cpu' and not Path('/proc').exists():
        raise EANError('--training on a CPU needs the /proc of Linux')


def run(args: argparse.Namespace) -> Dict[str, Any]:
    """Measure everything; the output file grows with every setting."""
    networks = pick(list_networks(args), args.networks)
    machine = f'{platform.machine()}, {os.cpu_count()} CPUs'
    if torch.device(args.device).type == 'cuda':
        torch.cuda.set_device(args.device)  # whose work is waited for
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
    for repeat, form in product(range(1, args.repeats + 1), forms(args)):
        for records in measure(networks, repeat, form, args):
            result['records'] += records
            if args.out:
                write(args.out, json.dumps(result, indent=1).encode())
    return result


def pick(
    networks: List[TimedNetwork], labels: Optional[Sequence[str]]
) -> List[TimedNetwork]:
    """Return the plain networks and those that have been named."""
    known = {network.label for network in networks}
    unknown = set(labels or ()) - known
    if unknown:
        raise EANError(
            f'--networks {unknown.pop()!r} is not timed; there are '
            f'{", ".join(sorted(known))}'
        )
    return [
        network
        for network in networks
        if labels is None or not network.attention or network.label in labels
    ]


def forms(args: argparse.Namespace) -> List[Form]:
    """List what the networks are timed as."""
    if args.training:
        trained = product(args.memory_format, args.precision)
        return [Form(False, layout, 'torch', each) for layout, each in trained]
    deployed = dict(yes=[True], no=[False], both=[False, True])[args.deployed]
    found = []
    for runtime in args.runtime:
        if runtime == 'torch':
            found += [Form(*form) for form in product(deployed, args.memory_format)]
        else:
            precisions = args.precision if runtime == 'openvino' else ['f32']
            found += [Form(True, 'contiguous', runtime, each) for each in precisions]
    return found


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
