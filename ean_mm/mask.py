"""The mask: which residual blocks of a network the attention is plugged into."""

import json
import math
import numbers
import operator
import os
import re
import reprlib
import warnings
from dataclasses import dataclass, field
from itertools import chain, islice, repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

import torch

from ean_mm.errors import EANError, one_line
from ean_mm.fileio import atomic_write

PACKAGE_ROOT = Path(__file__).parent
MAX_FILE_BYTES = 1 << 20
MAX_BLOCKS = 10_000
MAX_DIMENSIONS = 64

BIT_STRING = re.compile(r'[01][01\s,_|-]*')


@dataclass(frozen=True)
class Mask:
    """One bit for each residual block of a network: 1 where attention is plugged in.

    A mask is an immutable value: two masks with the same bits for the same stages are
    equal and have the same hash, wherever they came from. Make one with
    :meth:`parse`, :meth:`random` or :meth:`from_file`.

    Args:
        bits: 0 or 1 for each block, from the network's first block to its last.
        stage_blocks: Number of blocks in each stage, ``(3, 4, 6, 3)`` for ResNet-50.
        info: What is known of the mask's origin (see :meth:`to_file`). It takes no
            part in comparisons.

    Raises:
        ValueError: The bits do not fit the stages.

    Example:
        >>> mask = Mask.parse('1001 0110 1001 1011', (3, 4, 6, 3))
        >>> str(mask), mask.codes, mask.sparsity
        ('100-1011-010011-011', (4, 11, 19, 3), 0.4375)
    """

    bits: Tuple[int, ...]
    stage_blocks: Tuple[int, ...]
    info: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        stage_blocks = _as_stage_blocks(self.stage_blocks)
        bits = _as_integers(self.bits, sum(stage_blocks))
        if bits is None or not _are_bits(bits, sum(stage_blocks)):
            raise EANError(_complaint(self.bits, stage_blocks))
        object.__setattr__(self, 'bits', tuple(bits))
        object.__setattr__(self, 'stage_blocks', stage_blocks)
        object.__setattr__(self, 'info', MappingProxyType(dict(self.info)))

    @classmethod
    def parse(
        cls,
        value: Any,
        stage_blocks: Sequence[int],
        network: Optional[str] = None,
    ) -> 'Mask':
        """Read a mask in any of the forms in which people write one.

        Args:
            value: One of

                - bits as a string, separators as you like: ``'1001011010011011'``,
                  ``'1001 0110 1001 1011'``, ``'100-1011-010011-011'``;
                - one decimal a stage, most significant bit first: ``(4, 11, 19, 3)``;
                - bits, flat or nested by stage. A flat sequence of 0 and 1 as long as
                  the network has blocks is bits, one number a stage is decimals;
                - ``'all'`` or ``'none'``;
                - another mask;
                - the path of a mask file, taken from the current folder or else from
                  the ``ean_mm`` package (``'masks/resnet50_sge_imagenet.json'``).
            stage_blocks: Number of blocks in each stage.
            network: Name of the network that the mask is for, as written in mask
                files. A file that was made for another network whose blocks fit
                gives a warning.

        Raises:
            ValueError: The value is no mask, or does not fit ``stage_blocks``. The
                message names the expected stage sizes.
        """
        stage_blocks = _as_stage_blocks(stage_blocks)
        try:
            plain = _as_plain(value, stage_blocks)
        except Exception as error:  # a foreign object may raise anything
            raise EANError(_complaint(value, stage_blocks)) from error
        if isinstance(plain, Mask):
            if plain.stage_blocks != stage_blocks:
                raise EANError(_complaint(value, stage_blocks))
            return plain
        if isinstance(plain, str):
            return cls._parse_string(plain, stage_blocks, network)
        if isinstance(plain, int):
            raise EANError(
                f'mask {_shorten(value)} is an int, which has lost its leading zeros; '
                f"write the bits with dashes, as '{_pattern(stage_blocks)}', so that "
                'the command line and YAML keep them as text'
            )
        bits = _bits_of(plain, stage_blocks)
        if bits is None:
            raise EANError(_complaint(value, stage_blocks))
        return cls(tuple(bits), stage_blocks)

    @classmethod
    def _parse_string(
        cls, value: str, stage_blocks: Tuple[int, ...], network: Optional[str]
    ) -> 'Mask':
        if len(value) > MAX_FILE_BYTES:
            raise EANError(_complaint(value, stage_blocks))
        text = value.strip()
        if text in ('all', 'none'):
            return cls((int(text == 'all'),) * sum(stage_blocks), stage_blocks)
        if BIT_STRING.fullmatch(text):
            bits = [int(char) for char in text if char in '01']
            if len(bits) != sum(stage_blocks):
                raise EANError(_complaint(value, stage_blocks))
            return cls(tuple(bits), stage_blocks)
        path = _find_file(text)
        if path is None:
            if text.endswith('.json'):
                raise EANError(
                    f'there is no mask file {_shorten(text)}, neither in the current '
                    f'folder nor in {PACKAGE_ROOT}; give the path of one for stages '
                    f'of {_sizes(stage_blocks)} blocks'
                )
            raise EANError(_complaint(value, stage_blocks))

        mask = cls.from_file(path)
        made_for = _shorten(mask.info.get('network', 'another network'))
        if mask.stage_blocks != stage_blocks:
            raise EANError(
                f'mask file {_name(path)} was made for {made_for}, whose stages have '
                f'{_sizes(mask.stage_blocks)} blocks; it does not fit '
                f'{network or "this network"}, whose stages have '
                f'{_sizes(stage_blocks)} blocks'
            )
        if network and made_for not in (network, 'another network'):
            warnings.warn(
                f'mask file {_name(path)} was found for {made_for} and is used for '
                f'{network}: the blocks fit, but it may not be the best mask there',
                stacklevel=3,
            )
        return mask

    @classmethod
    def random(
        cls,
        stage_blocks: Sequence[int],
        generator: Optional[torch.Generator] = None,
        p: float = 0.5,
    ) -> 'Mask':
        """Draw each bit independently, 1 with probability ``p``."""
        stage_blocks = _as_stage_blocks(stage_blocks)
        if not 0 <= p <= 1:
            raise EANError(f'p={p} is no probability; give a number from 0 to 1')
        draws = torch.rand(sum(stage_blocks), generator=generator)
        return cls(tuple((draws < p).long().tolist()), stage_blocks)

    def resize(self, stage_blocks: Sequence[int]) -> 'Mask':
        """Carry the mask to a network of another depth, as from ResNet-50 to 101.

        A heuristic, no search: every block takes the bit of the block at the same
        relative position within its stage, so that a stage's first and last block
        keep theirs. The new mask's :attr:`info` says where it comes from.

        Args:
            stage_blocks: Number of blocks in each stage of the other network.

        Raises:
            ValueError: The other network has more or fewer stages.

        Example:
            >>> str(Mask.parse('10-11-01-00', (2, 2, 2, 2)).resize((3, 4, 6, 3)))
            '100-1111-000111-000'
        """
        stage_blocks = _as_stage_blocks(stage_blocks)
        if len(stage_blocks) != len(self.stage_blocks):
            raise EANError(
                f'a mask of {len(self.stage_blocks)} stages cannot be resized to '
                f'{len(stage_blocks)} stages; only the number of blocks may differ'
            )
        bits = [
            stage[_nearest(block, num_blocks, len(stage))]
            for stage, num_blocks in zip(self.stages, stage_blocks)
            for block in range(num_blocks)
        ]
        origin = dict(resized_from=str(self), **self.info)
        return Mask(tuple(bits), stage_blocks, origin)

    @property
    def stages(self) -> Tuple[Tuple[int, ...], ...]:
        """The bits, one tuple a stage."""
        bits = iter(self.bits)
        return tuple(tuple(next(bits) for _ in range(n)) for n in self.stage_blocks)

    @property
    def codes(self) -> Tuple[int, ...]:
        """One decimal a stage, its first block being the most significant bit."""
        return tuple(int(group, 2) for group in str(self).split('-'))

    @property
    def num_connections(self) -> int:
        """Number of blocks that attention is plugged into."""
        return sum(self.bits)

    @property
    def sparsity(self) -> float:
        """Fraction of blocks without attention, from 0 to 1."""
        return 1 - self.num_connections / len(self.bits)

    def __str__(self) -> str:
        return '-'.join(''.join(map(str, stage)) for stage in self.stages)

    def __reduce__(self) -> Tuple[Any, ...]:
        return Mask, (self.bits, self.stage_blocks, dict(self.info))

    def to_file(self, path: Union[str, Path], **info: Any) -> None:
        """Write a mask file: JSON that a person can read, replaced atomically.

        Args:
            path: Where to write it.
            **info: What to note beside the bits; what is not given here is taken from
                :attr:`info`. By convention ``network`` (its name), ``attention`` (its
                config), ``reward``, ``accuracy`` (percent) and ``found_by`` (a dict
                that says how).

        Raises:
            ValueError: A value that JSON cannot hold.
        """
        content = {
            'mask': str(self),
            'stage_blocks': list(self.stage_blocks),
            'sparsity': self.sparsity,
            'num_connections': self.num_connections,
            **self.info,
            **info,
        }
        try:
            text = json.dumps(content, indent=2, allow_nan=False)
            text = text.replace(
                json.dumps(list(self.stage_blocks), indent=4).replace('\n]', '\n  ]'),
                json.dumps(list(self.stage_blocks)),
                1,
            )
        except (TypeError, ValueError, RecursionError) as error:
            raise EANError(f'mask file {path} cannot be written: {error}') from error
        with atomic_write(path) as file:
            file.write(f'{text}\n'.encode())

    @classmethod
    def from_file(cls, path: Union[str, Path]) -> 'Mask':
        """Read a mask file; what it says beside the bits is in :attr:`info`.

        Raises:
            ValueError: There is no such file, or it is not a mask file.
        """
        found = _find_file(path)
        if found is None:
            raise EANError(f'there is no mask file {_shorten(path)}')
        name = _name(found)
        try:
            content = _read_json(found)
        except (OSError, ValueError, RecursionError) as error:
            reason = _shorten(str(error) or type(error).__name__, 80)
            raise EANError(f'{name} is not a mask file: {reason}') from error
        if not isinstance(content, dict) or not isinstance(content.get('mask'), str):
            raise EANError(f"{name} is not a mask file: it has no entry 'mask'")
        if not BIT_STRING.fullmatch(content['mask']):
            raise EANError(f"{name} is not a mask file: its 'mask' is not bits")
        try:
            mask = cls._parse_string(
                content['mask'], _as_stage_blocks(content.get('stage_blocks')), None
            )
        except EANError as error:
            raise EANError(f'{name} is not a valid mask file: {error}') from error
        computed = ('mask', 'stage_blocks', 'sparsity', 'num_connections')
        info = {key: entry for key, entry in content.items() if key not in computed}
        return cls(mask.bits, mask.stage_blocks, info)


def _nearest(block: int, num_blocks: int, num_old: int) -> int:
    """Index of the old block at the relative position of a new one; halves go up."""
    if num_blocks == 1:
        return 0
    return (2 * block * (num_old - 1) + num_blocks - 1) // (2 * (num_blocks - 1))


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


def _as_plain(value: Any, stage_blocks: Tuple[int, ...]) -> Any:
    """A mask, a string, an int, or a list of ints or lists of what else is meant.

    Lists end one element beyond what fits.

    Raises:
        Exception: Of any type, for the value is none of them or misbehaves.
    """
    if issubclass(type(value), Mask):  # isinstance believes what a value says it is
        return value
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    num_blocks = sum(stage_blocks)
    if hasattr(value, 'tolist') and not isinstance(value, type):
        # An array without elements could still become a list of very many lists.
        shape = list(islice(value.shape, MAX_DIMENSIONS + 1))
        if len(shape) > MAX_DIMENSIONS or (
            math.prod(max(length, 1) for length in shape) > num_blocks
        ):
            raise ValueError(shape)
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise TypeError(type(value))
    return [
        [operator.index(bit) for bit in islice(element, length + 1)]
        if isinstance(element, (list, tuple))
        else operator.index(element)
        for element, length in zip(
            islice(value, num_blocks + 1), chain(stage_blocks, repeat(0))
        )
    ]


def _as_integers(values: Iterable, limit: int) -> Optional[List[int]]:
    """The integers, one more than the limit at most; None if they are none."""
    try:
        return [int(operator.index(value)) for value in islice(values, limit + 1)]
    except Exception:  # a foreign object may raise anything
        return None


def _are_bits(values: Sequence[int], length: int) -> bool:
    return len(values) == length and all(value in (0, 1) for value in values)


def _as_stage_blocks(value: Any) -> Tuple[int, ...]:
    blocks = None
    if issubclass(type(value), (list, tuple)):
        blocks = _as_integers(value, MAX_BLOCKS)
    if not blocks or min(blocks) < 1 or sum(blocks) > MAX_BLOCKS:
        raise EANError(
            f'stage_blocks {_shorten(value)} must be the number of blocks in each '
            'stage, as (3, 4, 6, 3)'
        )
    return tuple(blocks)


def _bits_of(
    values: List[Union[int, List[int]]], stage_blocks: Tuple[int, ...]
) -> Optional[List[int]]:
    """Bits of a flat or nested list, or of one decimal a stage; None if it is none."""
    nested = [value for value in values if isinstance(value, list)]
    codes = [value for value in values if isinstance(value, int)]
    if not nested and _are_bits(codes, sum(stage_blocks)):
        return list(map(int, codes))
    if len(values) != len(stage_blocks):
        return None
    if not nested:  # one decimal a stage
        if any(
            code < 0 or code.bit_length() > num_blocks
            for code, num_blocks in zip(codes, stage_blocks)
        ):
            return None
        return [
            int(bit)
            for code, num_blocks in zip(codes, stage_blocks)
            for bit in format(int(code), f'0{num_blocks}b')
        ]
    if codes or not all(map(_are_bits, nested, stage_blocks)):
        return None
    return [int(bit) for stage in nested for bit in stage]


def _find_file(text: Any) -> Optional[Path]:
    """The file that a path names, from the current folder or else the package."""
    try:
        for candidate in (Path(text).expanduser(), PACKAGE_ROOT / text):
            if candidate.is_file():
                return candidate
    except Exception:  # no name for a file; a foreign object may raise anything
        pass
    return None


def _name(path: Path) -> str:
    return _shorten(str(path), 300)


def _sizes(stage_blocks: Sequence[int]) -> str:
    return _shorten('-'.join(map(str, stage_blocks)))


def _pattern(stage_blocks: Sequence[int]) -> str:
    """An example of the right shape: ``'100-1000-100000-100'``."""
    return _shorten('-'.join('1'.ljust(n, '0') for n in stage_blocks), 120)


def _shorten(value: Any, limit: int = 60) -> str:
    """Text of a value, as one line."""
    try:
        text = value if isinstance(value, str) else reprlib.repr(value)
        return one_line(text[: 4 * limit], limit)
    except Exception:  # a foreign object's repr, or an int too long to print
        return one_line(f'of type {type(value).__name__}', limit)


def _complaint(value: Any, stage_blocks: Sequence[int]) -> str:
    total = sum(stage_blocks)
    return (
        f'mask {_shorten(value)!r} does not fit stages of {_sizes(stage_blocks)} '
        f"blocks; give {total} bits ('{_pattern(stage_blocks)}'), one decimal a stage, "
        "'all', 'none' or the path of a mask file"
    )
