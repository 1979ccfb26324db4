"""Versions of PyTorch and of the toolboxes: what was tested, what they need today."""

import contextlib
import importlib
import importlib.util
import sys
import warnings
from types import ModuleType
from typing import Dict, Mapping, Optional

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

CALL_OPERATORS = ('mmdet', 'mmseg')
"""toolboxes that import mmcv's compiled operators"""

NO_OPERATORS = (
    'mmcv has no operators here: it is mmcv-lite, which the demo installs; run make '
    'install, which puts mmcv with operators in its place, or without a checkout pip '
    'uninstall -y mmcv-lite and MMCV_WITH_OPS=1 pip install --no-build-isolation '
    'mmcv==2.1.0'
)

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
        ImportError: It is not installed, refuses the version of another package, or
            needs operators that mmcv does not have; one line says how to mend it.
    """
    try:
        # The onedl packages print that data sets of theirs are not there, and mmcv-lite
        # warns of an operator that only mmdet's models call.
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='Fail to import ``MultiScale')
            module = importlib.import_module(name)
    except AssertionError as error:
        # mmpretrain, mmdet and mmseg assert versions, and the first imports the second.
        together = ', or '.join(' '.join(stack.values()) for stack in TESTED.values())
        raise ImportError(
            f'{name} does not import: {error} These go together: {together}'
        ) from None
    toolbox = name.partition('.')[0]
    if toolbox in CALL_OPERATORS and importlib.util.find_spec('mmcv._ext') is None:
        raise ImportError(NO_OPERATORS)
    return module


def lacks_operators(error: Optional[BaseException]) -> bool:
    """Whether an error comes from an mmcv without operators, by way of others or not.

    Registries and custom imports raise errors of their own, of its text or after it.
    """
    while error is not None:
        if isinstance(error, ImportError) and "'mmcv._ext'" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
