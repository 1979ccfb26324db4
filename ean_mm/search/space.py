"""The search space: the masked modules of a model that are trained."""

import json
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import torch
from torch import nn

from ean_mm.errors import EANError
from ean_mm.mask import Mask
from ean_mm.models.masked import masked_modules, unwrapped
from ean_mm.search.discovery import discover

Bits = Tuple[int, ...]


class SearchSpace:
    """The masks of a model's modules, joined to one string of bits.

    Args:
        model: The model, wrapped for distributed training or not.
        modules: Names of the modules to search; by default all that are trained, see
            :func:`~ean_mm.search.discovery.discover`.

    Raises:
        ValueError: The model has no module with a mask, or none of such a name.
    """

    def __init__(
        self, model: nn.Module, modules: Optional[Sequence[str]] = None
    ) -> None:
        masked = masked_modules(model)
        if not masked:
            raise EANError(
                'the model has nothing to search: no module with a mask and attention; '
                "use backbone=dict(type='EANResNet', attention=dict(type=...), ...)"
            )
        found = discover(unwrapped(model), masked, modules)
        self.modules = {name: masked[name] for name in found.searched}
        self.followers = {
            name: (masked[name], student) for name, student in found.followers.items()
        }
        """momentum teachers: the module, and the name of the one whose mask it has"""
        self.left_out = found.left_out
        """names of the masked modules that keep their mask"""
        self.stage_blocks = {
            name: tuple(module.stage_blocks) for name, module in self.modules.items()
        }

    @property
    def num_bits(self) -> int:
        """Number of bits of all masks together."""
        return sum(sum(blocks) for blocks in self.stage_blocks.values())

    def split(self, bits: Sequence[int]) -> Dict[str, Mask]:
        """Cut a string of bits into one mask a module."""
        return split_bits(bits, self.stage_blocks)

    def join(self, masks: Mapping[str, Any]) -> Bits:
        """Join one mask a module, as ``Mask.parse`` reads it, to a string of bits."""
        bits: List[int] = []
        for name, blocks in self.stage_blocks.items():
            bits.extend(Mask.parse(masks[name], blocks).bits)
        return tuple(bits)

    def random(self, generator: torch.Generator, p: float = 0.5) -> Bits:
        """Draw each bit independently, 1 with probability ``p``."""
        modules = self.stage_blocks.values()
        masks = [Mask.random(blocks, generator, p) for blocks in modules]
        return tuple(bit for mask in masks for bit in mask.bits)

    def balanced(self, generator: torch.Generator) -> Bits:
        """Draw how many bits are 1, every number equally often, and then which."""
        plugged = int(torch.randint(self.num_bits + 1, (), generator=generator))
        order = torch.randperm(self.num_bits, generator=generator).tolist()
        return tuple(int(place < plugged) for place in order)

    def apply(self, bits: Sequence[int]) -> None:
        """Set the model to the masks in a string of bits."""
        self.set_masks(self.split(bits))

    def set_masks(self, masks: Mapping[str, Any]) -> None:
        """Set each module to a mask, as ``Mask.parse`` reads it."""
        for name, mask in masks.items():
            self.modules[name].set_mask(mask)
        for follower, student in self.followers.values():
            follower.set_mask(self.modules[student].mask)

    def like(self, model: nn.Module) -> 'SearchSpace':
        """Return the same space of a copy of the model."""
        return SearchSpace(model, list(self.modules))

    def exceptions(self) -> str:
        """Say which masked modules are not searched; nothing if all are."""
        facts = [f'{name} keeps its mask' for name in self.left_out]
        facts += [f'{name} follows {s}' for name, (_, s) in self.followers.items()]
        return ', '.join(facts)

    def sparsity(self, bits: Sequence[int]) -> float:
        """Fraction of zero bits, from 0 to 1."""
        return 1 - sum(bits) / len(bits)

    def describe(self) -> Dict[str, Dict[str, Any]]:
        """Say for each module which network, stages and attention it has, for JSON."""
        return {
            name: dict(
                network=getattr(module, 'network', type(module).__name__),
                stage_blocks=list(module.stage_blocks),
                attention=json.loads(json.dumps(module.attention, default=_named)),
            )
            for name, module in self.modules.items()
        }


def split_bits(
    bits: Sequence[int], stage_blocks: Mapping[str, Sequence[int]]
) -> Dict[str, Mask]:
    """Cut a string of bits into one mask a module.

    Args:
        bits: The bits of all modules.
        stage_blocks: For each module the number of blocks in each of its stages.
    """
    masks, start = {}, 0
    for name, blocks in stage_blocks.items():
        end = start + sum(blocks)
        masks[name] = Mask(tuple(bits[start:end]), tuple(blocks))
        start = end
    return masks


def _named(value: Any) -> Any:
    """Return what stands in JSON for a class, or for an attention module itself."""
    if isinstance(value, nn.Module):
        return dict(type=type(value).__name__)
    return value.__name__
