"""Shared attention and a mask for a backbone of another package."""

from typing import Any, Dict, Optional, Union

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import nn

from ean_mm.errors import EANError
from ean_mm.models.masked_backbone import MaskedBackbone
from ean_mm.models.wrapped_blocks import extended, give_place


@MODELS.register_module()
class EANWrapper(MaskedBackbone, BaseModule):
    """Plugs shared attention into any backbone of residual blocks, as ``EANResNet``.

    Attention acts after the last norm layer of each block whose bit is 1. For ResNet,
    ResNeXt, Res2Net, RegNet, ResNeSt and SEResNet of mmpretrain, mmdet and mmseg, and
    backbones of their kind: stages in ``res_layers``, blocks that take their last norm
    layer from the property ``norm2`` or ``norm3``.

    The wrapper is the backbone, its class extended: it is an instance of the
    backbone's class, has its arguments as attributes, and its checkpoints load with
    nothing but the attention's keys (``attentions.*``) missing. Around mmpretrain's
    ``ResNet`` it computes what ``EANResNet`` computes, and their checkpoints are
    interchangeable.

    Activation checkpointing (``with_cp`` of the backbone) works with every attention.
    Deployed, mmpretrain's blocks take their gates early as those of ``EANResNet`` do;
    blocks that run in code of their own have their norm layers folded and no more.

    Args:
        backbone: Config of the backbone, as ``dict(type='mmdet.ResNeXt', depth=50)``;
            its ``type`` without a scope is looked for in the default scope.
        attention: See :class:`~ean_mm.EANResNet`.
        mask: See :class:`~ean_mm.EANResNet`.
        share: See :class:`~ean_mm.EANResNet`.
        freeze_attention: See :class:`~ean_mm.EANResNet`.
        deploy: See :class:`~ean_mm.EANResNet`.
        pretrained: Path or URL of a checkpoint; short for
            ``init_cfg=dict(type='Pretrained', checkpoint=...)``, as mmseg passes it.
        init_cfg: In place of the backbone's own.

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
        for stage in (getattr(inner, name) for name in inner.res_layers):
            try:
                give_place(stage)
            except EANError as error:
                raise EANError(f'{_unfit(inner)}: {error}') from error
        self.__class__ = extended(type(self), type(inner))  # type: ignore[arg-type]
        self.__dict__ = vars(inner)
        self.stage_blocks = tuple(map(len, self.stages))
        self._finish_init(attention, mask, share, freeze_attention, deploy)


def _build(cfg: Dict[str, Any], pretrained: Optional[str], init_cfg: Any) -> nn.Module:
    """Build the backbone, with the initialisation that the wrapper was given."""
    if not isinstance(cfg, dict) or 'type' not in cfg:
        raise EANError(
            f"backbone={cfg!r} is no config; give a dict as dict(type='mmdet.ResNeXt', "
            'depth=50)'
        )
    given = [pretrained, init_cfg, cfg.get('pretrained'), cfg.get('init_cfg')]
    if sum(value is not None for value in given) > 1:
        raise EANError('give one of pretrained and init_cfg, once')
    cfg = dict(cfg)
    if pretrained is not None:
        init_cfg = dict(type='Pretrained', checkpoint=pretrained)
    if init_cfg is not None:
        cfg['init_cfg'] = init_cfg
    kind = cfg['type']
    with MODELS.switch_scope_and_registry(cfg.get('_scope_')) as registry:
        if isinstance(kind, str) and registry.get(kind) is None:
            raise EANError(
                f'backbone {kind!r} is not registered; write its toolbox before its '
                "name, as 'mmdet.ResNeXt'"
            )
    try:
        inner = MODELS.build(cfg)
    except (AssertionError, KeyError, TypeError) as error:
        raise EANError(f'backbone {kind!r} cannot be built: {error}') from error
    if hasattr(inner, 'set_mask'):
        raise EANError(
            f'{type(inner).__name__} takes attention and mask itself; name it without '
            'EANWrapper'
        )
    if not getattr(inner, 'res_layers', None):
        raise EANError(f'{_unfit(inner)}: it has no stages in res_layers')
    return inner


def _unfit(inner: nn.Module) -> str:
    return f'{type(inner).__name__} is no backbone for EANWrapper'
