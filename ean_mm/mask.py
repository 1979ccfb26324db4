"""The mask: which residual blocks of a network the attention is plugged into."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, List, Mapping, Optional, Sequence, Tuple, Union

import torch

from ean_mm.errors import EANError, one_line
from ean_mm.mask_file import read_fitting_file, read_mask_file, write_mask_file
from ean_mm.mask_parsing import (
    as_bits,
    complaint,
    is_written_out,
    parse_bits,
    parse_stage_blocks,
)


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
        stage_blocks = parse_stage_blocks(self.stage_blocks)
        bits = as_bits(self.bits, sum(stage_blocks))
        if bits is None:
            raise EANError(complaint(self.bits, stage_blocks))
        object.__setattr__(self, 'bits', bits)
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
        stage_blocks = parse_stage_blocks(stage_blocks)
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if isinstance(value, Mask) and value.stage_blocks == stage_blocks:
            return value
        if isinstance(value, str) and not is_written_out(value):
            return cls(*read_fitting_file(value, stage_blocks, network))
        return cls(parse_bits(value, stage_blocks), stage_blocks)

    @classmethod
    def random(
        cls,
        stage_blocks: Sequence[int],
        generator: Optional[torch.Generator] = None,
        p: float = 0.5,
    ) -> 'Mask':
        """Draw each bit independently, 1 with probability ``p``."""
        stage_blocks = parse_stage_blocks(stage_blocks)
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
        stage_blocks = parse_stage_blocks(stage_blocks)
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
    def block_names(self) -> List[List[str]]:
        """The names of each stage's blocks in the network, as :attr:`info` has them.

        A stage's list is empty where ``info['blocks']`` is missing or does not fit.
        """
        stages = self.info.get('blocks')
        if not isinstance(stages, Sequence) or not (
            all(isinstance(names, (list, tuple)) for names in stages)
            and tuple(map(len, stages)) == self.stage_blocks
        ):
            return [[] for _ in self.stage_blocks]
        return [[one_line(name) for name in names] for names in stages]

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
        write_mask_file(path, content)

    @classmethod
    def from_file(cls, path: Union[str, Path]) -> 'Mask':
        """Read a mask file; what it says beside the bits is in :attr:`info`.

        Raises:
            ValueError: There is no such file, or it is not a mask file.
        """
        return cls(*read_mask_file(path))


def _nearest(block: int, num_blocks: int, num_old: int) -> int:
    """Index of the old block at the relative position of a new one; halves go up."""
    if num_blocks == 1:
        return 0
    return (2 * block * (num_old - 1) + num_blocks - 1) // (2 * (num_blocks - 1))
