"""The command line ``python -m ean_mm``: what is installed, and masks in the terminal.

Exit statuses are those of diff and grep: 0 for yes, 1 for no, 2 for a mistake, with one
line on stderr that says how to mend it.
"""

import argparse
import platform
import sys
from typing import Any, NoReturn, Optional, Sequence, Tuple

import mmengine.registry
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ean_mm.compat import TESTED, import_toolbox, untested
from ean_mm.errors import EANError, printable
from ean_mm.mask import Mask
from ean_mm.version import __version__

MASK_HELP = (
    'mask file, as masks/resnet50_sge_imagenet.json, or bits, as 100-1011-010011-011'
)
EXAMPLES = """\
examples:
  python -m ean_mm info
  python -m ean_mm mask show work_dirs/resnet50_se_search/mask_backbone.json
  python -m ean_mm mask diff mask_backbone.json masks/resnet50_sge_imagenet.json
"""
SHOW_EXAMPLES = """\
examples:
  python -m ean_mm mask show masks/resnet50_sge_imagenet.json
  python -m ean_mm mask show 100-1011-010011-011
  python -m ean_mm mask show all --stages 3-4-6-3
"""
DIFF_EXAMPLES = """\
exit status: 0 for equal masks, 1 for different ones, 2 for a mistake

examples:
  python -m ean_mm mask diff seed_0/mask_backbone.json seed_1/mask_backbone.json
  python -m ean_mm mask diff mask_backbone.json all --stages 3-4-6-3
"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments, None for those of the process.

    Returns:
        The exit status: 0, 1 for masks that differ, 2 for a mistake of the user's.
    """
    try:
        args = _parser().parse_args(argv)
        return args.run(args)
    except (EANError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise EANError(f'{message}; {self.prog} --help has examples')


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog='python -m ean_mm',
        description='Shared attention in OpenMMLab ResNets, plugged in where it pays.',
        epilog=EXAMPLES,
    )
    parser.add_argument('--version', action='version', version=f'EAN-MM {__version__}')
    commands = parser.add_subparsers(metavar='COMMAND', required=True)

    info = commands.add_parser(
        'info',
        help='versions, GPU, and what EAN-MM registers',
        description='Show versions, whether they were tested together, the GPU, and '
        "the names that configs may use as 'type'.",
        epilog='example:\n  python -m ean_mm info',
    )
    info.set_defaults(run=_info)

    mask = commands.add_parser(
        'mask',
        help='look at masks and compare them',
        description='Look at masks and compare them.',
        epilog=SHOW_EXAMPLES + '  python -m ean_mm mask diff a.json b.json\n',
    )
    actions = mask.add_subparsers(metavar='ACTION', required=True)
    show = actions.add_parser(
        'show',
        help='draw a mask, with what its file says of its origin',
        description='Draw a mask, one row a stage, with what its file says of its '
        'origin.',
        epilog=SHOW_EXAMPLES,
    )
    show.add_argument('mask', metavar='FILE_OR_BITS', help=MASK_HELP)
    show.set_defaults(run=_show)
    diff = actions.add_parser(
        'diff',
        help='say in which blocks two masks differ',
        description='Say, stage by stage, in which blocks two masks differ.',
        epilog=DIFF_EXAMPLES,
    )
    diff.add_argument('a', metavar='A', help=MASK_HELP)
    diff.add_argument('b', metavar='B', help='the same')
    diff.set_defaults(run=_diff)
    for action in (show, diff):
        action.add_argument(
            '--stages',
            metavar='3-4-6-3',
            help="blocks in each stage; needed for bits without dashes, 'all', 'none'",
        )
    return parser


def _info(args: argparse.Namespace) -> int:
    console = _console()
    versions, table = {}, _table()
    problems = []
    for name in TESTED['openmmlab']:
        try:
            versions[name] = import_toolbox(name).__version__
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == name
            problems.append((name, 'not installed' if missing else str(error)))
    tested = untested(versions)
    for name, version in versions.items():
        table.add_row(
            name,
            version,
            f'not tested, but {tested[name]}' if name in tested else 'tested',
        )
    for name, problem in problems:
        table.add_row(name, '-', Text(problem))
    console.print(f'EAN-MM {__version__}, Python {platform.python_version()}')
    console.print(table)
    if torch.cuda.is_available():
        console.print(
            f'GPU: {torch.cuda.device_count()} x {torch.cuda.get_device_name()}, '
            f'CUDA {torch.version.cuda}'
        )
    else:
        console.print('GPU: none')
    console.print('registered:')
    table = _table()
    for registry in vars(mmengine.registry).values():
        if isinstance(registry, mmengine.registry.Registry):
            ours = [
                name
                for name, module in registry.module_dict.items()
                if module.__module__.startswith('ean_mm.')
            ]
            if ours:
                table.add_row(registry.name, ', '.join(sorted(ours)))
    console.print(table)
    return 0


def _show(args: argparse.Namespace) -> int:
    console = _console()
    mask = _read(args.mask, args.stages)
    console.print(f'mask {mask}', soft_wrap=True)
    console.print(
        f'{mask.num_connections} of {len(mask.bits)} blocks plugged in, '
        f'sparsity {mask.sparsity:.2f}'
    )
    table = _table()
    for number, stage in enumerate(mask.stages, 1):
        table.add_row(
            f'stage {number}', _draw(stage, console), f'{sum(stage)} of {len(stage)}'
        )
    console.print(table)
    if mask.info:
        console.print(f'from {printable(args.mask)}', soft_wrap=True)
        table = _table()
        for key, value in mask.info.items():
            table.add_row(printable(key), printable(_compact(value)))
        console.print(table)
    return 0


def _diff(args: argparse.Namespace) -> int:
    console = _console()
    a, b = _read(args.a, args.stages), _read(args.b, args.stages)
    for letter, mask, name in (('A', a, args.a), ('B', b, args.b)):
        console.print(
            f'{letter}  {mask}  sparsity {mask.sparsity:.2f}  {printable(name)}',
            soft_wrap=True,
        )
    if a == b:
        console.print('equal')
        return 0
    if a.stage_blocks != b.stage_blocks:
        sizes = ['-'.join(map(str, mask.stage_blocks)) for mask in (a, b)]
        console.print(f'of different networks: stages of {sizes[0]} and {sizes[1]}')
        return 1
    table = _table()
    table.add_row('', 'A', 'B', '')
    for number, (old, new) in enumerate(zip(a.stages, b.stages), 1):
        only = [
            f'block{"s" if len(blocks) > 1 else ""} '
            f'{", ".join(map(str, blocks))} only in {letter}'
            for letter, blocks in (
                ('A', [i for i, bits in enumerate(zip(old, new), 1) if bits == (1, 0)]),
                ('B', [i for i, bits in enumerate(zip(old, new), 1) if bits == (0, 1)]),
            )
            if blocks
        ]
        table.add_row(
            f'stage {number}',
            _draw(old, console),
            _draw(new, console),
            '; '.join(only) or 'equal',
        )
    console.print(table)
    return 1


def _read(text: str, stages: Optional[str]) -> Mask:
    """Read a mask argument; without ``--stages`` it has to say where stages end."""
    if stages is not None:
        sizes = stages.split('-')
        if not all(size.isdecimal() for size in sizes):
            raise EANError(
                f'--stages {stages} must be the blocks of each stage, as 3-4-6-3'
            )
        return Mask.parse(text, [int(size) for size in sizes])
    if text in ('all', 'none') or text and set(text) <= set('01'):
        raise EANError(
            f'mask {text} does not say where its stages end; add --stages 3-4-6-3 with '
            'the blocks of each, or write dashes between them'
        )
    if text and set(text) <= set('01-'):
        return Mask.parse(text, [len(stage) for stage in text.split('-')])
    return Mask.from_file(text)


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


def _table() -> Table:
    return Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)


def _draw(stage: Tuple[int, ...], console: Console) -> Text:
    """A square a block, filled where attention is plugged in."""
    plain, plugged = '.#' if console.options.ascii_only else '□■'
    text = Text()
    for bit in stage:
        text.append(plugged if bit else plain, style='bold red' if bit else '')
        text.append(' ')
    return text


def _compact(value: Any) -> str:
    """Write what JSON holds in one line, as ``type=SEAttention, ratio=4``."""
    if isinstance(value, dict):
        return ', '.join(
            f'{key}=({_compact(each)})'
            if isinstance(each, dict)
            else f'{key}={_compact(each)}'
            for key, each in value.items()
        )
    return str(value)


if __name__ == '__main__':
    sys.exit(main())
