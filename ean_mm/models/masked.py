"""Masked modules: what they have in common, and which ones a model has."""

import copy
from typing import Any, Dict, List, Optional, Sequence, Tuple

from mmengine.logging import print_log
from mmengine.model import BaseModule, BaseTTAModel, PretrainedInit, is_model_wrapper
from torch import Tensor, nn

from ean_mm.mask import Mask

Place = Optional[Tuple[nn.ModuleList, int]]
"""Where the attention module of a block is to be found; None: there is none."""


def modules_at(places: Sequence[Place]) -> List[Optional[nn.Module]]:
    """Return the attention module of each block, None where none is plugged in."""
    return [None if place is None else place[0][place[1]] for place in places]


def unwrapped(model: Any) -> Any:
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


def init_configs(init_cfg: Any) -> List[Dict[str, Any]]:
    """Return the initialisations in an ``init_cfg``: one, several or none."""
    if isinstance(init_cfg, (list, tuple)):
        return list(init_cfg)
    return [init_cfg] if init_cfg else []


class MaskedModule(BaseModule):
    """Mixin for an mmengine ``BaseModule`` with attention and a mask of its places.

    The module has ``stage_blocks``, ``network`` (its name in mask files), ``attention``
    (a config, or None) and the ``attentions`` that were built from it.
    """

    _start: Optional[Dict[str, Tensor]] = None  # of attention that may be missing

    @property
    def mask(self) -> Mask:
        """The mask in use. Without attention no bit is set."""
        return self._mask

    def set_mask(self, mask: Any) -> None:
        """Plug attention in elsewhere.

        Args:
            mask: Anything that :meth:`ean_mm.Mask.parse` reads.

        Raises:
            ValueError: The mask does not fit the module.
        """
        mask = Mask.parse(mask, self.stage_blocks, self.network)
        if self.attention is None:
            mask = Mask.parse('none', self.stage_blocks)
        self._mask = mask
        self._places = self.places(mask)

    def places(self, mask: Mask) -> List[List[Place]]:
        """Say of each stage where its blocks find the attention that a mask plugs in.

        A list and a number in it: unlike a module, they hold when the module is
        replaced (by a synchronised or checkpointed one), and register nothing twice.
        """
        return [
            [self._place(i, j) if bit else None for j, bit in enumerate(bits)]
            for i, bits in enumerate(mask.stages)
        ]

    def _place(self, stage: int, block: int) -> Place:
        """Say where a block finds its attention: the one of its stage."""
        return self.attentions, stage

    @property
    def plugged(self) -> List[List[Optional[nn.Module]]]:
        """The attention module of each block of each stage, None where the bit is 0."""
        return [modules_at(places) for places in self._places]

    def num_attention_parameters(self) -> int:
        """Count the parameters of the attention modules that the mask plugs in."""
        modules = {module for stage in self.plugged for module in stage if module}
        parameters = {p for module in modules for p in module.parameters()}
        return sum(p.numel() for p in parameters)

    def init_weights(self) -> None:
        """Initialise as configured; attention keeps the start that it was built with.

        The configured initialisation would reach the convolutions in it.
        """
        self.expect_missing_attention()
        start = self._start
        super().init_weights()
        kinds = [init.get('type') for init in init_configs(self.init_cfg)]
        if not {'Pretrained', PretrainedInit} & set(
            kinds
        ):  # which may have its weights
            self.attentions.load_state_dict(start)
        self._start = None

    def expect_missing_attention(self) -> None:
        """Let the checkpoint that is loaded next lack the attention's weights.

        Weights of the plain network are the usual start. Missing ones stay as they are
        now, and one line in the log says how many, where mmengine would list them all.
        """
        self._start = copy.deepcopy(self.attentions.state_dict())

    def _load_from_state_dict(
        self, state_dict: Dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        if self._start is not None:
            start = {
                f'{prefix}attentions.{name}': value
                for name, value in self._start.items()
            }
            self._start = None
            missing = start.keys() - state_dict.keys()
            state_dict.update((key, start[key]) for key in missing)
            if missing:
                print_log(
                    f'{self.network}: {len(missing)} of {len(start)} attention weights '
                    'are not in the checkpoint; they start as initialised',
                    logger='current',
                )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
