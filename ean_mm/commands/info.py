"""``info``: versions, GPU, and what EAN-MM registers."""

import argparse
import platform
from typing import Any

import mmengine.registry
import torch

from ean_mm import terminal
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
    versions, missing = {}, {}
    for name in TESTED['openmmlab']:
        try:
            versions[name] = import_toolbox(name).__version__
        except ImportError as error:
            absent = isinstance(error, ModuleNotFoundError) and error.name == name
            missing[name] = 'not installed' if absent else str(error)
    others = {name: f'not tested, but {v}' for name, v in untested(versions).items()}
    rows = [(name, v, others.get(name, 'tested')) for name, v in versions.items()]
    rows += [(name, '-', problem) for name, problem in missing.items()]
    console.print(f'EAN-MM {__version__}, Python {platform.python_version()}')
    console.print(terminal.grid(rows))
    if torch.cuda.is_available():
        console.print(
            f'GPU: {torch.cuda.device_count()} x {torch.cuda.get_device_name()}, '
            f'CUDA {torch.version.cuda}'
        )
    else:
        console.print('GPU: none')
    console.print('registered:')
    registered = {
        registry.name: sorted(
            name
            for name, module in registry.module_dict.items()
            if module.__module__.startswith('ean_mm.')
        )
        for registry in vars(mmengine.registry).values()
        if isinstance(registry, mmengine.registry.Registry)
    }
    console.print(
        terminal.grid(
            (kind, ', '.join(names)) for kind, names in registered.items() if names
        )
    )
    return 0
