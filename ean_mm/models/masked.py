"""What a masked backbone and a masked neck have in common."""

import copy
from typing import Any

from ean_mm.mask import Mask


class MaskedModule:
    """Mixin for an mmengine ``BaseModule`` with attention and a mask of its places.

    The module has ``stage_blocks``, ``network`` (its name in mask files), ``attention``
    (a config, or None) and the ``attentions`` that were built from it.
    """

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
        super().init_weights()
        pretrained = isinstance(self.init_cfg, dict) and (
            self.init_cfg['type'] == 'Pretrained'
        )
        if not pretrained:  # a checkpoint may hold attention weights
            self.attentions.load_state_dict(start)
