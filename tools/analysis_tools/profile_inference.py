"""Where a deployed network with attention spends more time than the plain one.

Both run alternately under PyTorch's profiler. Printed are the milliseconds that each
operator takes by itself in a pass, and what is left of the time of a pass without the
profiler: Python, and the dispatch of operators. Weights are random.
"""

import argparse
from collections import Counter
from functools import partial
from typing import Any, Dict, List

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from ean_mm import EANResNet
from ean_mm.launch import explain_errors
from ean_mm.profiling import median_seconds


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('--attention', nargs='+', default=['SE'], metavar='NAME')
    add('--mask', default='all', help='bits or a mask file; default: every block')
    add('--depth', type=int, default=50)
    add('--image-size', type=int, default=224)
    add('--batch', type=int, default=1)
    add('--threads', type=int, help="CPU threads; default: PyTorch's")
    add('--passes', type=int, default=50, help='passes of each network')
    add('--top', type=int, default=12, help='operators to list')
    return parser.parse_args()


def build(args: argparse.Namespace, **options: Any) -> nn.Module:
    """Build a deployed network."""
    model = EANResNet(args.depth, **options).eval()
    model.switch_to_deploy()
    return model


def operators(models: List[nn.Module], images: Tensor, passes: int) -> List[Counter]:
    """Return each model's milliseconds a pass by operator."""
    totals = [Counter() for _ in models]
    for _ in range(passes):
        for model, total in zip(models, totals):
            with profile(activities=[ProfilerActivity.CPU]) as events:
                model(images)
            for event in events.key_averages():
                total[event.key] += event.self_cpu_time_total / 1000 / passes
    return totals


@torch.inference_mode()
def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    models: Dict[str, nn.Module] = dict(plain=build(args))
    for name in args.attention:
        attention = dict(type=f'{name}Attention')
        models[name] = build(args, attention=attention, mask=args.mask)
    images = torch.randn(args.batch, 3, args.image_size, args.image_size)
    images = images.to(memory_format=torch.channels_last)
    seconds = median_seconds([partial(model, images) for model in models.values()])
    totals = operators(list(models.values()), images, args.passes)
    table = Table(title=f'ms a pass, batch {args.batch}', box=None)
    table.add_column('operator')
    for name in models:
        table.add_column(name, justify='right')
    highest = Counter()
    for total in totals:
        highest |= total  # the maximum of each operator
    for key, _ in highest.most_common(args.top):
        table.add_row(key, *(f'{total[key]:.2f}' for total in totals))
    sums = [total.total() for total in totals]
    table.add_row('all operators', *(f'{each:.2f}' for each in sums))
    wall = [1000 * each for each in seconds]
    rest = (whole - each for whole, each in zip(wall, sums))
    table.add_row('between operators', *(f'{each:.2f}' for each in rest))
    table.add_row('a pass', *(f'{each:.2f}' for each in wall))
    Console().print(table)


if __name__ == '__main__':
    explain_errors(main)
