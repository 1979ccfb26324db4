"""What a masked backbone and a masked neck have in common."""

import copy
from typing import Any, Dict

from mmengine.logging import print_log
from mmengine.model import BaseModule

from ean_mm.mask import Mask


class MaskedModule(BaseModule):
    """Mixin for an mmengine ``BaseModule`` with attention and a mask of its places.

    The module has ``stage_blocks``, ``network`` (its name in mask files), ``attention``
    (a config, or None) and the ``attentions`` that were built from it.
    """

    _attention_may_be_missing = False

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

    def init_weights(self) -> None:
        """Initialise as configured; attention keeps the start that it was built with.

        The configured initialisation would reach the convolutions in it.
        """
        start = copy.deepcopy(self.attentions.state_dict())
        pretrained = isinstance(self.init_cfg, dict) and (
            self.init_cfg['type'] == 'Pretrained'
        )
        if pretrained:  # the checkpoint may hold attention weights
            self.expect_missing_attention()
            super().init_weights()
        else:
            super().init_weights()
            self.attentions.load_state_dict(start)

    def expect_missing_attention(self) -> None:
        """Let the checkpoint that is loaded next lack the attention's weights.

        Weights of the plain network are the usual start. One line in the log says how
        many are missing, where mmengine would list them all.
        """
        self._attention_may_be_missing = True

    def _load_from_state_dict(
        self, state_dict: Dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        if self._attention_may_be_missing:
            self._attention_may_be_missing = False
            start = {
                f'{prefix}attentions.{name}': value
                for name, value in self.attentions.state_dict().items()
            }
            missing = start.keys() - state_dict.keys()
            state_dict.update((key, start[key]) for key in missing)
            if missing:
                print_log(
                    f'{self.network}: {len(missing)} of {len(start)} attention weights '
                    'are not in the checkpoint; they start as initialised',
                    logger='current',
                )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
