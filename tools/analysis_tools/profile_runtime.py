"""What a runtime makes of a network with attention, beside the plain one.

Printed are the milliseconds by kind of layer, in brackets the number of layers, as
OpenVINO or ONNX Runtime has fused them. A layer's time is the shortest of all passes,
since a busy machine makes single passes longer. Weights are random.
"""

import argparse
import json
import tempfile
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmark_networks import TimedNetwork, list_networks, prepare
from ean_mm.deploy import export
from ean_mm.deploy.runtimes import RUNTIMES, SUFFIXES, OpenVINONetwork, require_runtime
from ean_mm.launch import explain_errors

Layer = Tuple[str, str]
"""name and kind of a layer"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('runtime', choices=RUNTIMES)
    add('--precision', choices=['f32', 'bf16'], default='f32', help='in OpenVINO')
    add('--attention', nargs='+', default=['SE'], metavar='NAME')
    add(
        '--masks',
        nargs='+',
        default=[],
        metavar='MASK',
        help='bits or mask files; default: those of benchmark.py',
    )
    add('--depth', type=int, default=50)
    add('--image-size', type=int, default=224)
    add('--batch', type=int, default=1)
    add('--threads', type=int, help="CPU threads; default: PyTorch's")
    add('--passes', type=int, default=50, help='passes of each network')
    return parser.parse_args()


def openvino(
    file: str, precision: str, images: np.ndarray, passes: int
) -> Iterator[Tuple[Layer, float]]:
    """Yield the milliseconds of each layer in each pass."""
    network = OpenVINONetwork(file, precision, torch.get_num_threads())
    network.options['PERF_COUNT'] = True
    network(images)
    request = network.compiled[images.shape].create_infer_request()
    for _ in range(passes):
        request.infer([images])
        for layer in request.get_profiling_info():
            if layer.status == layer.EXECUTED:
                kind = f'{layer.node_type} {layer.exec_type}'
                yield (layer.node_name, kind), 1000 * layer.real_time.total_seconds()


def onnxruntime(
    file: str, precision: str, images: np.ndarray, passes: int
) -> Iterator[Tuple[Layer, float]]:
    """Yield the milliseconds of each layer in each pass."""
    package = import_module('onnxruntime')
    options = package.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.enable_profiling = True
    options.profile_file_prefix = file
    session = package.InferenceSession(file, options)
    for _ in range(passes):
        session.run(None, {session.get_inputs()[0].name: images})
    for event in json.loads(Path(session.end_profiling()).read_text()):
        if event['cat'] == 'Node' and event['name'].endswith('kernel_time'):
            kind = event['args']['op_name']
            yield (event['name'], kind), event['dur'] / 1000


def profile(network: TimedNetwork, images: torch.Tensor, args: Any) -> Dict[str, Any]:
    """Return the milliseconds by kind of layer, and the number of layers."""
    shortest: Dict[Layer, float] = {}
    layers = dict(openvino=openvino, onnxruntime=onnxruntime)[args.runtime]
    with tempfile.TemporaryDirectory() as folder:
        file = f'{folder}/network{SUFFIXES[args.runtime]}'
        export(prepare(network, True, 'contiguous', 'cpu'), file, images)
        for layer, time in layers(file, args.precision, images.numpy(), args.passes):
            shortest[layer] = min(shortest.get(layer, time), time)
    times: Counter = Counter()
    for (_, kind), time in shortest.items():
        times[kind] += time  # type: ignore[assignment]
    return dict(times=times, numbers=Counter(kind for _, kind in shortest))


def main() -> None:
    args = parse_args()
    require_runtime(args.runtime, args.precision)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    images = torch.randn(args.batch, 3, args.image_size, args.image_size)
    args.references = []
    networks = [n for n in list_networks(args) if n.variant != 'unshared']
    found = {network.label: profile(network, images, args) for network in networks}
    setting = f'{args.runtime}, {args.precision}, batch {args.batch}'
    table = Table('layers', title=f'ms a pass, {setting}', box=None)
    for label in found:
        table.add_column(label, justify='right')
    highest: Counter = Counter()
    for each in found.values():
        highest |= each['times']  # the maximum of each kind
    for kind, _ in highest.most_common():
        cells = (
            (each['times'][kind], each['numbers'][kind]) for each in found.values()
        )
        table.add_row(kind, *(f'{time:.2f} ({n})' if n else '' for time, n in cells))
    sums = [each['times'].total() for each in found.values()]
    table.add_row('all layers', *(f'{each:.2f}' for each in sums))
    added = [f'{100 * (each / sums[0] - 1):+.1f} %' for each in sums[1:]]
    table.add_row('more than plain', '', *added)
    Console().print(table)


if __name__ == '__main__':
    explain_errors(main)
