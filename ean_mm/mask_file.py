"""The mask file: JSON that a person can read, also of a stranger's making."""

import json
import math
import warnings
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

from ean_mm.errors import EANError
from ean_mm.fileio import atomic_write
from ean_mm.mask_parsing import (
    complaint,
    is_bits,
    parse_bits,
    parse_stage_blocks,
    shorten,
    sizes,
)

PACKAGE_ROOT = Path(__file__).parent
MAX_FILE_BYTES = 1 << 20

COMPUTED = ('mask', 'stage_blocks', 'sparsity', 'num_connections')
"""entries that say what the mask itself says"""

Content = Tuple[Tuple[int, ...], Tuple[int, ...], Dict[str, Any]]
"""bits, number of blocks in each stage, and what else a file says"""


def read_fitting_file(
    text: str, stage_blocks: Tuple[int, ...], network: Optional[str] = None
) -> Content:
    """Read the mask file that a config names for a network.

    Raises:
        ValueError: There is no such file, it is not a mask file, or does not fit.
    """
    path = _find(text.strip())
    if path is None:
        if text.strip().endswith('.json'):
            raise EANError(
                f'there is no mask file {shorten(text.strip())}, neither in the '
                f'current folder nor in {PACKAGE_ROOT}; give the path of one for '
                f'stages of {sizes(stage_blocks)} blocks'
            )
        raise EANError(complaint(text, stage_blocks))
    content = read_mask_file(path)
    _, stored, info = content
    made_for = shorten(info.get('network', 'another network'))
    if stored != stage_blocks:
        raise EANError(
            f'mask file {_name(path)} was made for {made_for}, whose stages have '
            f'{sizes(stored)} blocks; it does not fit {network or "this network"}, '
            f'whose stages have {sizes(stage_blocks)} blocks'
        )
    if network and made_for not in (network, 'another network'):
        warnings.warn(
            f'mask file {_name(path)} was found for {made_for} and is used for '
            f'{network}: the blocks fit, but it may not be the best mask there',
            stacklevel=3,
        )
    return content


def read_mask_file(path: Union[str, Path]) -> Content:
    """Read a mask file.

    Raises:
        ValueError: There is no such file, or it is not a mask file.
    """
    found = _find(path)
    if found is None:
        raise EANError(f'there is no mask file {shorten(path)}')
    name = _name(found)
    try:
        content = _read_json(found)
    except (OSError, ValueError, RecursionError) as error:
        reason = shorten(str(error) or type(error).__name__, 80)
        raise EANError(f'{name} is not a mask file: {reason}') from error
    if not isinstance(content, dict) or not isinstance(content.get('mask'), str):
        raise EANError(f"{name} is not a mask file: it has no entry 'mask'")
    if not is_bits(content['mask']):
        raise EANError(f"{name} is not a mask file: its 'mask' is not bits")
    try:
        stage_blocks = parse_stage_blocks(content.get('stage_blocks'))
        bits = parse_bits(content['mask'], stage_blocks)
    except EANError as error:
        raise EANError(f'{name} is not a valid mask file: {error}') from error
    info = {key: entry for key, entry in content.items() if key not in COMPUTED}
    return bits, stage_blocks, info


def write_mask_file(path: Union[str, Path], content: Dict[str, Any]) -> None:
    """Write a mask file atomically.

    Raises:
        ValueError: A value that JSON cannot hold.
    """
    sizes = list(content['stage_blocks'])
    try:
        text = json.dumps(content, indent=2, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise EANError(f'mask file {path} cannot be written: {error}') from error
    in_lines = json.dumps(sizes, indent=4).replace('\n]', '\n  ]')
    text = text.replace(in_lines, json.dumps(sizes), 1)
    with atomic_write(path) as file:
        file.write(f'{text}\n'.encode())


def _find(path: Union[str, Path]) -> Optional[Path]:
    """Find what a path names, from the current folder or else the package."""
    try:
        for candidate in (Path(path).expanduser(), PACKAGE_ROOT / path):
            if candidate.is_file():
                return candidate
    except (OSError, RuntimeError, TypeError, ValueError):  # no name for a file
        pass
    return None


def _name(path: Path) -> str:
    return shorten(str(path), 300)


def _read_json(path: Path) -> Any:
    """Read JSON that says one thing only: no key twice, no NaN, no infinity."""
    with open(path, 'rb') as file:
        text = file.read(MAX_FILE_BYTES + 1)  # more than its size, in /proc
    if len(text) > MAX_FILE_BYTES:
        raise ValueError('it is too large for one')
    return json.loads(
        text,
        object_pairs_hook=_without_repetition,
        parse_float=_finite,
        parse_constant=_finite,
    )


def _without_repetition(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError('it has an entry twice')
    return entries


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f'{text} is not a finite number')
    return number
