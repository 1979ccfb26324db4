"""Shared attention on the levels of a feature pyramid."""

from itertools import groupby
from typing import Any, Dict, Optional, Sequence, Tuple

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from ean_mm.errors import EANError
from ean_mm.models.attention import attend, build_attention
from ean_mm.models.masked import MaskedModule


@MODELS.register_module()
class SharedAttentionNeck(MaskedModule, BaseModule):
    """Applies shared attention to the levels of a backbone or an FPN.

    Neighbouring levels of one width form a stage and share one module; a stateful one
    runs from the finest level to the coarsest. The levels whose bit is 0 pass through
    untouched. The mask is searched like a backbone's.

    Args:
        in_channels: Width of every level, finest first: ``[256] * 5`` behind an FPN,
            ``[256, 512, 1024, 2048]`` behind a ResNet-50.
        attention: Config of the attention module.
        mask: Which levels are attended: anything that :meth:`ean_mm.Mask.parse` reads.
        init_cfg: See mmengine's ``BaseModule``.

    Raises:
        ValueError: The attention or mask is unknown or does not fit.

    Example:
        >>> neck = [
        ...     dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256,
        ...          num_outs=5),
        ...     dict(type='SharedAttentionNeck', in_channels=[256] * 5,
        ...          attention=dict(type='SEAttention'), mask='10110')]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        attention: Dict[str, Any],
        mask: Any = 'all',
        init_cfg: Optional[Dict[str, Any]] = None,
    ) -> None:
        super().__init__(init_cfg)
        runs = [(width, len(list(run))) for width, run in groupby(in_channels)]
        if not runs:
            raise EANError('SharedAttentionNeck: in_channels names no level')
        self.in_channels = tuple(in_channels)
        self.attention = attention
        self.stage_blocks = tuple(length for _, length in runs)
        self.attentions = nn.ModuleList(
            build_attention(attention, width) for width, _ in runs
        )
        self.set_mask(mask)

    @property
    def network(self) -> str:
        """Name of the neck in mask files, as ``'SharedAttentionNeck-256x5'``."""
        runs = groupby(self.in_channels)
        sizes = '-'.join(f'{width}x{len(list(run))}' for width, run in runs)
        return f'{type(self).__name__}-{sizes}'

    def forward(self, inputs: Sequence[Tensor]) -> Tuple[Tensor, ...]:
        """Attend to the levels whose bit is 1.

        Args:
            inputs: Feature maps ``(N, C, H, W)``, one a level, finest first.

        Raises:
            ValueError: There are more or fewer levels than configured.
        """
        if len(inputs) != len(self.in_channels):
            raise EANError(
                f'SharedAttentionNeck is configured for {len(self.in_channels)} levels '
                f'and got {len(inputs)}; set in_channels to the widths of the levels'
            )
        levels = iter(inputs)
        outs = []
        for modules in self.plugged:
            state = None
            # modules first: zip takes one too many
            for attention, x in zip(modules, levels):
                if attention is not None:
                    x, state = attend(attention, x, state)
                outs.append(x)
        return tuple(outs)
