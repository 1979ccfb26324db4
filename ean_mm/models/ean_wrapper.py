"""Shared attention and a mask for a backbone of another package."""

from functools import cache
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import nn

from ean_mm.errors import EANError
from ean_mm.model_config import class_of
from ean_mm.models.masked_backbone import MaskedBackbone
from ean_mm.models.residual_blocks import (
    Names,
    find_ends,
    group_ends,
    remove_attention,
)


@MODELS.register_module()
class EANWrapper(MaskedBackbone, BaseModule):
    """Plugs shared attention into any backbone of residual blocks, as ``EANResNet``.

    Attention acts at the end of each block's residual branch, before the shortcut is
    added, where the block's bit is 1. A table has the blocks of ResNet and its
    relatives, HRNet, CSPNeXt, CSPDarknet, Darknet, MobileNet, EfficientNet and
    ConvNeXt; ``residual_ends`` adds others. Blocks of one stage and one width share a
    module; the backbone is run once to see which ones these are.

    The wrapper is the backbone, its class extended: it is an instance of the
    backbone's class, has its arguments as attributes, and its checkpoints load with
    nothing but the attention's keys (``attentions.*``) missing. Around mmpretrain's
    ``ResNet`` it computes what ``EANResNet`` computes, with checkpoints that are
    interchangeable.

    Activation checkpointing (``with_cp`` of the backbone) works with every attention.

    Args:
        backbone: Config of the backbone, as ``dict(type='mmdet.ResNeXt', depth=50)``;
            its ``type`` without a scope is looked for in the default scope.
        residual_ends: The layer that ends the residual branch, by the class of block,
            as ``dict(MyBlock='conv3')``; ``()`` leaves the blocks of a class out.
        shortcut_only: Leave out the blocks without a shortcut. By default attention
            acts in them on all that there is.
        replace_attention: Take out the backbone's own squeeze-and-excitation
            (``SELayer``, ``ChannelAttention``), whose weights in its checkpoints are
            then not used. By default ours acts beside it.
        attention: See :class:`~ean_mm.EANResNet`.
        mask: See :class:`~ean_mm.EANResNet`.
        share: See :class:`~ean_mm.EANResNet`.
        freeze_attention: See :class:`~ean_mm.EANResNet`.
        deploy: See :class:`~ean_mm.EANResNet`.
        pretrained: Path or URL of a checkpoint; short for
            ``init_cfg=dict(type='Pretrained', checkpoint=...)``, as mmseg passes it.
        init_cfg: Of the backbone, whose own config has none then.

    Raises:
        ValueError: The backbone is unknown or not of residual blocks, or the other
            arguments do not fit it.

    Example:
        >>> model = EANWrapper(
        ...     dict(type='mmpretrain.RegNet', arch='regnetx_800mf'),
        ...     attention=dict(type='SEAttention'), mask='1-101-1010010-00001')
        >>> model.network, model.stage_blocks
        ('RegNet-16', (1, 3, 7, 5))
    """

    def __init__(
        self,
        backbone: Dict[str, Any],
        *,
        residual_ends: Optional[Dict[str, Names]] = None,
        shortcut_only: bool = False,
        replace_attention: bool = False,
        attention: Optional[Dict[str, Any]] = None,
        mask: Any = 'all',
        share: str = 'stage',
        freeze_attention: bool = False,
        deploy: Union[bool, str] = False,
        pretrained: Optional[str] = None,
        init_cfg: Any = None,
        **kwargs: Any,
    ) -> None:
        if kwargs:
            raise EANError(
                f'EANWrapper takes no {", ".join(kwargs)}; what is for the backbone '
                'goes into backbone=dict(...)'
            )
        inner: Any = _build(backbone, pretrained, init_cfg)
        if replace_attention:
            remove_attention(inner)
        ends = find_ends(inner, residual_ends or {}, shortcut_only)
        self.__class__ = _extended(type(self), type(inner))  # type: ignore[arg-type]
        self.__dict__ = vars(inner)
        self._ends = group_ends(inner, ends, backbone.get('in_channels', 3))
        self.stage_blocks = tuple(map(len, self._ends))
        self._finish_init(attention, mask, share, freeze_attention, deploy)

    @property
    def masked_blocks(self) -> List[Sequence[Any]]:
        return [[end.block for end in ends] for ends in self._ends]

    @property
    def _widths(self) -> List[int]:
        return [ends[0].channels for ends in self._ends]

    def _hand_out(self) -> None:
        """Let the ends of the residual branches know their attention."""
        for ends, places, modules in zip(self._ends, self._places, self.plugged):
            before = None
            for end, place, attention in zip(ends, places, modules):
                end.place, end.before, end.handed_on = place, None, False
                if self.share == 'stage' and getattr(attention, 'stateful', False):
                    if before is not None:
                        before.handed_on = True
                    end.before, before = before, end
                end.hang()  # norm folding may have replaced the layer

    def __reduce_ex__(self, protocol: Any) -> Tuple:
        return _restore, type(self).__bases__, vars(self)


def _build(cfg: Dict[str, Any], pretrained: Optional[str], init_cfg: Any) -> nn.Module:
    """Build the backbone, with the initialisation that the wrapper was given."""
    cls = class_of(
        cfg,
        'backbone',
        example="dict(type='mmdet.ResNeXt', depth=50)",
        hint="write its toolbox before its name, as 'mmdet.ResNeXt'",
    )
    if hasattr(cls, 'set_mask'):
        raise EANError(
            f'{cls.__name__} takes attention and mask itself; name it without '
            'EANWrapper'
        )
    given = [pretrained, init_cfg, cfg.get('pretrained'), cfg.get('init_cfg')]
    if sum(value is not None for value in given) > 1:
        raise EANError('give one of pretrained and init_cfg, once')
    if pretrained is not None:
        init_cfg = dict(type='Pretrained', checkpoint=pretrained)
    if init_cfg is not None:
        cfg = {**cfg, 'init_cfg': init_cfg}
    try:
        return MODELS.build(cfg)
    except (AssertionError, KeyError, TypeError) as error:
        raise EANError(f'backbone {cfg["type"]!r} cannot be built: {error}') from error


@cache
def _extended(mixin: Any, kind: Any) -> Any:
    """Make a class of a mixin and a class, with the name of the latter."""
    return type(kind.__name__, (mixin, kind), dict(__module__=kind.__module__))


def _restore(mixin: Any, kind: Any) -> Any:
    """Make an object to copy or unpickle into; no module has its class by name."""
    cls = _extended(mixin, kind)
    return cls.__new__(cls)
