"""Versions of PyTorch and of the toolboxes: what was tested, what they need today."""

import contextlib
import importlib
import sys
import warnings
from types import ModuleType
from typing import Dict, Mapping

import torch
from mmengine.utils import digit_version

from ean_mm.version import __version__

# What the test suite passes on, by import name: OpenMMLab's packages, and those of
# their continuation, which have the same import names.
TESTED = {
    'openmmlab': {
        'torch': 'torch==2.11.0',
        'mmengine': 'mmengine==0.10.7',
        'mmcv': 'mmcv==2.1.0',
        'mmpretrain': 'mmpretrain==1.2.0',
        'mmdet': 'mmdet==3.3.0',
        'mmseg': 'mmsegmentation==1.2.2',
    },
    'onedl': {
        'torch': 'torch==2.11.0',
        'mmengine': 'onedl-mmengine==0.10.12',
        'mmcv': 'onedl-mmcv==2.3.6',
        'mmpretrain': 'onedl-mmpretrain==1.3.6',
        'mmdet': 'onedl-mmdetection==3.5.1',
        'mmseg': 'onedl-mmsegmentation==1.4.2',
    },
}

if digit_version(torch.__version__) < digit_version('2.6'):
    raise ImportError(
        'EAN-MM needs PyTorch 2.6 or newer, which opens checkpoints without executing '
        f'what is in them; this is {torch.__version__}'
    )


def untested(versions: Mapping[str, str]) -> Dict[str, str]:
    """Find what EAN-MM was not tested with.

    Args:
        versions: Versions that are installed, by import name.

    Returns:
        Of each package whose major or minor version is another one, the version that
        was tested, in the stack that has most in common with ``versions``.
    """
    others = []
    for stack in TESTED.values():
        tested = {name: stack[name].partition('==')[2] for name in versions}
        others.append(
            {
                name: version
                for name, version in tested.items()
                if version.split('.')[:2] != versions[name].split('.')[:2]
            }
        )
    return min(others, key=len)


def warn_of_untested_versions() -> None:
    """Warn in one line of packages in use that EAN-MM was not tested with."""
    versions = {
        name: sys.modules[name].__version__
        for name in TESTED['openmmlab']
        if hasattr(sys.modules.get(name), '__version__')
    }
    tested = untested(versions)
    if tested:
        # Without a place in the source, of which Python would print a second line.
        warnings.warn_explicit(
            f'EAN-MM {__version__} is not tested with '
            + ', '.join(f'{name} {versions[name]}' for name in tested)
            + ', but with '
            + ', '.join(f'{name} {version}' for name, version in tested.items()),
            UserWarning,
            filename='ean_mm',
            lineno=1,
        )


def import_toolbox(name: str) -> ModuleType:
    """Import a toolbox, or a module of one.

    Raises:
        ImportError: It is not installed, or refuses the version of another package;
            one line says what goes together.
    """
    try:
        # The onedl packages print that data sets of theirs are not there.
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except AssertionError as error:
        # mmpretrain, mmdet and mmseg assert versions, and the first imports the second.
        together = ', or '.join(' '.join(stack.values()) for stack in TESTED.values())
        raise ImportError(
            f'{name} does not import: {error} These go together: {together}'
        ) from None
