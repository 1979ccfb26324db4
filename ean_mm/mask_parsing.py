"""The forms in which people write a mask, read as bits."""

import numbers
import operator
import re
import reprlib
from itertools import chain
from typing import Any, Iterable, Optional, Sequence, Tuple

from ean_mm.errors import EANError, one_line

MAX_BLOCKS = 10_000
"""most blocks that a network may have"""

SEPARATED_BITS = re.compile(r'[01][01\s,_|-]*')


def is_bits(text: str) -> bool:
    """Whether text is bits, separated as people like, and not a word or a path."""
    return SEPARATED_BITS.fullmatch(text) is not None


def is_written_out(text: str) -> bool:
    """Whether text is a mask itself, and not the path of its file."""
    return text.strip() in ('all', 'none') or is_bits(text.strip())


def parse_bits(value: Any, stage_blocks: Sequence[int]) -> Tuple[int, ...]:
    """Read what :meth:`ean_mm.Mask.parse` reads, but for masks and paths of files.

    Raises:
        ValueError: The value is no mask, or does not fit ``stage_blocks``.
    """
    num_blocks = sum(stage_blocks)
    bits = None
    if isinstance(value, str):
        text = value.strip()
        if text in ('all', 'none'):
            return (int(text == 'all'),) * num_blocks
        if is_bits(text):
            bits = as_bits((int(char) for char in text if char in '01'), num_blocks)
    elif isinstance(value, numbers.Integral) and not isinstance(value, bool):
        raise EANError(
            f'mask {shorten(value)} is an int, which has lost its leading zeros; '
            f"write the bits with dashes, as '{_pattern(stage_blocks)}', so that "
            'the command line and YAML keep them as text'
        )
    else:
        values = value.tolist() if hasattr(value, 'tolist') else value
        bits = _bits_of_list(values, stage_blocks)
    if bits is None:
        raise EANError(complaint(value, stage_blocks))
    return bits


def parse_stage_blocks(value: Any) -> Tuple[int, ...]:
    """Read the number of blocks in each stage.

    Raises:
        ValueError: It is no list of positive integers, or of too many blocks.
    """
    blocks = None
    if isinstance(value, (list, tuple)) and 1 <= len(value) <= MAX_BLOCKS:
        blocks = _as_integers(value)
    if blocks is None or min(blocks) < 1 or sum(blocks) > MAX_BLOCKS:
        raise EANError(
            f'stage_blocks {shorten(value)} must be the number of blocks in each '
            'stage, as (3, 4, 6, 3)'
        )
    return blocks


def as_bits(values: Iterable, num_blocks: int) -> Optional[Tuple[int, ...]]:
    """Return the values as bits; None if they are none, or more or fewer."""
    bits = _as_integers(values)
    if bits is None or len(bits) != num_blocks or not set(bits) <= {0, 1}:
        return None
    return bits


def _as_integers(values: Iterable) -> Optional[Tuple[int, ...]]:
    try:
        return tuple(int(operator.index(value)) for value in values)
    except TypeError:
        return None


def _bits_of_list(
    values: Any, stage_blocks: Sequence[int]
) -> Optional[Tuple[int, ...]]:
    """Read bits, flat or by stage, or one decimal a stage; None if it is none."""
    if not isinstance(values, (list, tuple)):
        return None
    num_blocks = sum(stage_blocks)
    flat = as_bits(values, num_blocks) if len(values) == num_blocks else None
    if flat is not None or len(values) != len(stage_blocks):
        return flat
    stages = values
    if not all(isinstance(stage, (list, tuple)) for stage in values):
        codes = _as_integers(values)
        # a number that is negative or too large has more bits
        if codes is None or any(code >> n for code, n in zip(codes, stage_blocks)):
            return None
        stages = [[*map(int, f'{c:0{n}b}')] for c, n in zip(codes, stage_blocks)]
    if [*map(len, stages)] != [*stage_blocks]:
        return None
    return as_bits(chain(*stages), num_blocks)


def sizes(stage_blocks: Sequence[int]) -> str:
    """Write the sizes of stages as ``'3-4-6-3'``."""
    return shorten('-'.join(map(str, stage_blocks)))


def _pattern(stage_blocks: Sequence[int]) -> str:
    """An example of the right shape: ``'100-1000-100000-100'``."""
    return shorten('-'.join('1'.ljust(n, '0') for n in stage_blocks), 120)


def shorten(value: Any, limit: int = 60) -> str:
    """Return the text of a value, as one line."""
    try:
        text = value if isinstance(value, str) else reprlib.repr(value)
    except ValueError:  # an int too long to print
        text = f'of type {type(value).__name__}'
    return one_line(text[: 4 * limit], limit)


def complaint(value: Any, stage_blocks: Sequence[int]) -> str:
    """Say that a value does not fit the stages, and what would."""
    return (
        f'mask {shorten(value)!r} does not fit stages of {sizes(stage_blocks)} blocks; '
        f"give {sum(stage_blocks)} bits ('{_pattern(stage_blocks)}'), one decimal a "
        "stage, 'all', 'none' or the path of a mask file"
    )
