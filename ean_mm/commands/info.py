"""``info``: versions, GPU, and what EAN-MM registers."""

import argparse
import platform
from typing import Any

import mmengine.registry
import torch
from rich.text import Text

from ean_mm.commands import terminal
from ean_mm.compat import TESTED, import_toolbox, untested
from ean_mm.version import __version__


def add_parser(commands: Any) -> None:
    """Add the command to the subparsers of a parser."""
    info = commands.add_parser(
        'info',
        help='versions, GPU, and what EAN-MM registers',
        description='Show versions, whether they were tested together, the GPU, and '
        "the names that configs may use as 'type'.",
        epilog='example:\n  python -m ean_mm info',
    )
    info.set_defaults(run=_info)


def _info(args: argparse.Namespace) -> int:
    console = terminal.console()
    versions, table = {}, terminal.grid()
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
    table = terminal.grid()
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
