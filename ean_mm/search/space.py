"""The search space: every masked module of a model."""

from typing import Any, Dict, List, Mapping, Sequence, Tuple

import torch
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn

from ean_mm.errors import EANError
from ean_mm.mask import Mask

Bits = Tuple[int, ...]


def unwrapped(model: nn.Module) -> Any:
    """Return the model inside wrappers for distributed training or augmented tests.

    mmengine does not count the latter as wrappers, and loads checkpoints into the model
    inside all the same.
    """
    inner: Any = model
    while is_model_wrapper(inner) or isinstance(inner, BaseTTAModel):
        inner = inner.module
    return inner


def masked_modules(model: nn.Module) -> Dict[str, Any]:
    """Find the modules that have a mask and attention to plug in.

    Every module with ``set_mask`` and ``stage_blocks`` whose ``attention`` is not None
    takes part, in the order of ``named_modules``.
    """
    return {
        name: module
        for name, module in unwrapped(model).named_modules()
        if hasattr(module, 'set_mask')
        and hasattr(module, 'stage_blocks')
        and getattr(module, 'attention', None) is not None
    }


def count_parameters(model: nn.Module) -> int:
    """Count the parameters in use: without attention that no bit plugs in."""
    count = sum(p.numel() for p in unwrapped(model).parameters())
    for module in masked_modules(model).values():
        count -= sum(p.numel() for p in module.attentions.parameters())
        count += module.num_attention_parameters()
    return count


class SearchSpace:
    """The masks of a model's modules, joined to one string of bits.

    Args:
        model: The model, wrapped for distributed training or not.

    Raises:
        ValueError: The model has no module with a mask.
    """

    def __init__(self, model: nn.Module) -> None:
        self.modules = masked_modules(model)
        if not self.modules:
            raise EANError(
                'the model has nothing to search: no module with a mask and attention; '
                "use backbone=dict(type='EANResNet', attention=dict(type=...), ...)"
            )
        self.stage_blocks = {
            name: tuple(module.stage_blocks) for name, module in self.modules.items()
        }

    @property
    def num_bits(self) -> int:
        """Number of bits of all masks together."""
        return sum(sum(blocks) for blocks in self.stage_blocks.values())

    def split(self, bits: Sequence[int]) -> Dict[str, Mask]:
        """Cut a string of bits into one mask a module."""
        masks, start = {}, 0
        for name, blocks in self.stage_blocks.items():
            end = start + sum(blocks)
            masks[name] = Mask(tuple(bits[start:end]), blocks)
            start = end
        return masks

    def join(self, masks: Mapping[str, Any]) -> Bits:
        """Join one mask a module, as ``Mask.parse`` reads it, to a string of bits."""
        bits: List[int] = []
        for name, blocks in self.stage_blocks.items():
            bits.extend(Mask.parse(masks[name], blocks).bits)
        return tuple(bits)

    def random(self, generator: torch.Generator, p: float = 0.5) -> Bits:
        """Draw each bit independently, 1 with probability ``p``."""
        masks = {
            name: Mask.random(blocks, generator, p)
            for name, blocks in self.stage_blocks.items()
        }
        return self.join(masks)

    def balanced(self, generator: torch.Generator) -> Bits:
        """Draw how many bits are 1, every number equally often, and then which."""
        plugged = int(torch.randint(self.num_bits + 1, (), generator=generator))
        order = torch.randperm(self.num_bits, generator=generator).tolist()
        return tuple(int(place < plugged) for place in order)

    def apply(self, bits: Sequence[int]) -> None:
        """Set the model to the masks in a string of bits."""
        for name, mask in self.split(bits).items():
            self.modules[name].set_mask(mask)

    def sparsity(self, bits: Sequence[int]) -> float:
        """Fraction of zero bits, from 0 to 1."""
        return 1 - sum(bits) / len(bits)

    def describe(self) -> Dict[str, Dict[str, Any]]:
        """Say for each module which network, stages and attention it has, for JSON."""
        return {
            name: dict(
                network=getattr(module, 'network', type(module).__name__),
                stage_blocks=list(module.stage_blocks),
                attention=_plain(module.attention),
            )
            for name, module in self.modules.items()
        }


def _plain(value: Any) -> Any:
    """Turn a config, or an attention module itself, into what JSON can hold."""
    if isinstance(value, nn.Module):
        return dict(type=type(value).__name__)
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value
