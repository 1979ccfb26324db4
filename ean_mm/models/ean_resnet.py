"""ResNet with one shared attention module a stage and a mask of where it is plugged."""

import re
from typing import Any, Dict, Optional, Tuple, Type, Union

from mmengine.registry import MODELS, DefaultScope
from mmpretrain.models.backbones.resnet import ResNet
from mmpretrain.models.backbones.resnet_cifar import ResNet_CIFAR
from torch import Tensor

from ean_mm.errors import EANError, one_line
from ean_mm.models.blocks import AttentionBlock, EANBasicBlock, EANBottleneck, EANStage
from ean_mm.models.masked import init_configs
from ean_mm.models.masked_backbone import MaskedBackbone

DEEP_STEM = re.compile(r'(open-mmlab|mmcls)://resnet\d+_(v1[cd])')
"""names of weights of a ResNet with three convolutions as its stem"""


@MODELS.register_module()
class EANResNet(MaskedBackbone, ResNet):
    """ResNet whose residual blocks share one attention module a stage.

    Source: Efficient Attention Network (https://arxiv.org/abs/2011.14058). A mask has
    one bit for each residual block; where it is 1, the attention module of the stage
    scales the residual branch before the addition. Without attention the network is
    mmpretrain's ``ResNet``, and its checkpoints load with nothing but the attention's
    keys (``attentions.*``) missing.

    In the default scope of mmdet or mmseg, options that are not given are what they are
    in that toolbox's ``ResNet`` (:attr:`scope_defaults`), so that a config means the
    same after its ``type`` was exchanged.

    Args:
        depth: 18, 34, 50, 101 or 152.
        attention: Config of the attention module, as ``dict(type='SEAttention')``,
            or None for the plain network.
        mask: Where attention is plugged in: anything that
            :meth:`ean_mm.Mask.parse` reads.
        share: ``'stage'`` for one module a stage, ``'block'`` for one a block (the
            usual, unshared attention).
        freeze_attention: Let ``frozen_stages`` and ``norm_eval`` apply to the
            attention modules too. By default these always train.
        contract_dilation: Halve the dilation of a stage's first block, as mmseg does.
        deploy: Build the network as :meth:`switch_to_deploy` leaves it, to load a
            checkpoint of ``tools/model_converters/deploy.py``: a memory format, or True
            for the default one.
        pretrained: Path or URL of a checkpoint; short for
            ``init_cfg=dict(type='Pretrained', checkpoint=...)``, as mmseg passes it.
        zero_init_residual: Start with the last norm layer of every block at zero. The
            paper does not.
        **kwargs: Everything else that mmpretrain's ``ResNet`` takes, and what only
            those of mmdet and mmseg take, as long as it is None.

    Raises:
        ValueError: The depth, ``share``, attention or mask is unknown or does not fit.

    Example:
        >>> model = EANResNet(
        ...     50, attention=dict(type='SGEAttention'), mask='100-1011-010011-011')
        >>> model.mask.num_connections
        9
    """

    arch_settings: Dict[int, Tuple[Type[AttentionBlock], Tuple[int, ...]]] = {
        18: (EANBasicBlock, (2, 2, 2, 2)),
        34: (EANBasicBlock, (3, 4, 6, 3)),
        50: (EANBottleneck, (3, 4, 6, 3)),
        101: (EANBottleneck, (3, 4, 23, 3)),
        152: (EANBottleneck, (3, 8, 36, 3)),
    }

    scope_defaults: Dict[str, Dict[str, Any]] = dict(
        mmdet=dict(norm_eval=True, out_indices=(0, 1, 2, 3), stem_channels=None),
        mmseg=dict(out_indices=(0, 1, 2, 3)),
    )
    """what the ``ResNet`` of a scope has other defaults for than mmpretrain's"""

    variant: Dict[str, Any] = {}
    """the options that make a network of this class what its name says"""

    stages = MaskedBackbone.masked_blocks

    def __init__(
        self,
        depth: int,
        *,
        attention: Optional[Dict[str, Any]] = None,
        mask: Any = 'all',
        share: str = 'stage',
        freeze_attention: bool = False,
        contract_dilation: bool = False,
        deploy: Union[bool, str] = False,
        pretrained: Optional[str] = None,
        zero_init_residual: bool = False,
        **kwargs: Any,
    ) -> None:
        if depth not in self.arch_settings:
            raise EANError(
                f'depth={depth} is unknown; {type(self).__name__} takes '
                f'{", ".join(map(str, self.arch_settings))}'
            )
        if pretrained is not None:
            if kwargs.get('init_cfg') is not None:
                raise EANError('give either pretrained or init_cfg, not both')
            kwargs['init_cfg'] = dict(type='Pretrained', checkpoint=pretrained)
        kwargs = self._as_in_scope(kwargs)
        self._require_its_stem(kwargs)
        # The parent builds the stages and freezes some of them in its constructor.
        self.contract_dilation = contract_dilation
        try:
            super().__init__(depth, zero_init_residual=zero_init_residual, **kwargs)
        except (AssertionError, KeyError, TypeError) as error:
            reason = one_line(error.args[0] if error.args else '')
            hint = ''
            if 'unexpected keyword' in reason:
                hint = "; options of mmdet's or mmseg's ResNet go through EANWrapper"
            raise EANError(
                f'{type(self).__name__} cannot be built: '
                f'{reason or "its options contradict each other"}{hint}'
            ) from error
        self._finish_init(attention, mask, share, freeze_attention, deploy)

    def _as_in_scope(self, kwargs: Dict[str, Any]) -> Dict[str, Any]:
        """Read options as the ``ResNet`` of the default scope reads them."""
        for name, value in self.variant.items():
            if kwargs.setdefault(name, value) != value:
                raise EANError(
                    f'{type(self).__name__} has {name}={value}; leave {name} out, or '
                    "use type='EANResNet'"
                )
        scope = DefaultScope.get_current_instance()
        if scope is not None:
            kwargs = {**self.scope_defaults.get(scope.scope_name, {}), **kwargs}
        for name in ('dcn', 'plugins', 'multi_grid'):
            if kwargs.get(name, ...) is None:
                del kwargs[name]
        if 'dcn' not in kwargs:
            kwargs.pop('stage_with_dcn', None)
        if kwargs.get('stem_channels', ...) is None:
            kwargs['stem_channels'] = kwargs.get('base_channels', 64)
        return kwargs

    def _require_its_stem(self, kwargs: Dict[str, Any]) -> None:
        """Refuse weights that are known by their name to be of a deep stem."""
        for init in init_configs(kwargs.get('init_cfg')):
            named = DEEP_STEM.fullmatch(str(init.get('checkpoint')))
            if named and not kwargs.get('deep_stem'):
                raise EANError(
                    f'{named[0]} has a deep stem and {type(self).__name__} has none; '
                    f"use type='EANResNet{named[2].capitalize()}'"
                )

    def make_res_layer(self, **kwargs: Any) -> EANStage:
        return EANStage(contract_dilation=self.contract_dilation, **kwargs)

    def forward_stem(self, x: Tensor) -> Tensor:
        """Run the layers before the first stage on images ``(N, C, H, W)``."""
        if self.deep_stem:
            x = self.stem(x)
        else:
            x = self.relu(self.norm1(self.conv1(x)))
        return self.maxpool(x)

    def _load_from_state_dict(
        self, state_dict: Dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Load, reading the layers that mmseg and mmdet number differently.

        Raises:
            ValueError: The weights are of a deep stem or of pooling shortcuts, which
                the network lacks: it would keep a random stem, or run the shortcuts'
                weights in others that they fit.
        """
        own = (name for name, n in zip(self.res_layers, self.strides) if n != 1)
        pooled = not self.avg_down and any(
            f'{prefix}{name}.0.downsample.2.weight' in state_dict for name in own
        )
        deep = not self.deep_stem and any(
            key.startswith(f'{prefix}stem.') for key in state_dict
        )
        if pooled or deep:
            theirs = 'shortcuts that pool' if pooled else 'a deep stem'
            raise EANError(
                f'the weights for {self.network} are of a ResNet with {theirs}; use '
                f"type='EANResNetV1{'d' if pooled else 'c'}'"
            )

        def rename(layers: str, new_names: Dict[str, str]) -> None:
            renamed = {}
            for key in [key for key in state_dict if key.startswith(layers)]:
                layer, name = key[len(layers) :].split('.', 1)
                if layer in new_names:
                    renamed[f'{layers}{new_names[layer]}.{name}'] = state_dict.pop(key)
            state_dict.update(renamed)

        if self.deep_stem and f'{prefix}stem.0.weight' in state_dict:
            # Theirs is a flat sequence of conv, norm and ReLU, three times.
            names = {
                str(3 * i + j): f'{i}.{kind}'
                for i in range(3)
                for j, kind in enumerate(('conv', 'bn'))
            }
            rename(f'{prefix}stem.', names)
        for name, stage in zip(self.res_layers, self.stages):
            downsample = f'{prefix}{name}.0.downsample.'
            two_layers = stage[0].downsample is not None and (
                len(stage[0].downsample) == 2
            )
            if two_layers and f'{downsample}2.weight' in state_dict:
                # With avg_down, theirs has a pooling of a single pixel before.
                rename(downsample, {'1': '0', '2': '1'})
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


@MODELS.register_module()
class EANResNetV1c(EANResNet):
    """``EANResNet`` whose stem is three 3x3 convolutions, as mmseg's ``ResNetV1c``.

    The same as ``deep_stem=True``, and a mask for the one is a mask for the other.

    Args:
        depth: See :class:`EANResNet`.
        **kwargs: See :class:`EANResNet`.
    """

    variant = dict(deep_stem=True, avg_down=False)

    @property
    def network(self) -> str:
        return f'EANResNet-{self.depth}'


@MODELS.register_module()
class EANResNetV1d(EANResNetV1c):
    """``EANResNetV1c`` whose shortcuts pool where they stride (``avg_down=True``).

    Args:
        depth: See :class:`EANResNet`.
        **kwargs: See :class:`EANResNet`.
    """

    variant = dict(deep_stem=True, avg_down=True)


@MODELS.register_module()
class EANResNetCIFAR(EANResNet, ResNet_CIFAR):
    """The ResNet of CIFAR experiments: a 3x3 stem, three stages, 16 to 64 channels.

    Source: He et al., 2016 (https://arxiv.org/abs/1512.03385), section 4.2. Depths 20
    to 110 have basic blocks, 164 has bottlenecks.

    Args:
        depth: 20, 32, 44, 56, 110 or 164.
        **kwargs: See :class:`EANResNet`; ``deep_stem`` is not supported.
    """

    arch_settings = {
        20: (EANBasicBlock, (3, 3, 3)),
        32: (EANBasicBlock, (5, 5, 5)),
        44: (EANBasicBlock, (7, 7, 7)),
        56: (EANBasicBlock, (9, 9, 9)),
        110: (EANBasicBlock, (18, 18, 18)),
        164: (EANBottleneck, (18, 18, 18)),
    }
    scope_defaults: Dict[str, Dict[str, Any]] = {}  # there is none but mmpretrain's

    def __init__(
        self,
        depth: int,
        *,
        stem_channels: int = 16,
        base_channels: int = 16,
        num_stages: int = 3,
        strides: Tuple[int, ...] = (1, 2, 2),
        dilations: Tuple[int, ...] = (1, 1, 1),
        out_indices: Tuple[int, ...] = (2,),
        **kwargs: Any,
    ) -> None:
        if depth in ResNet_CIFAR.arch_settings:
            raise EANError(
                f"depth={depth} is mmpretrain's ResNet_CIFAR, which EANWrapper takes: "
                "type='EANWrapper', backbone=dict(type='mmpretrain.ResNet_CIFAR', "
                f'depth={depth}); {type(self).__name__} takes '
                f'{", ".join(map(str, self.arch_settings))}'
            )
        super().__init__(
            depth,
            stem_channels=stem_channels,
            base_channels=base_channels,
            num_stages=num_stages,
            strides=strides,
            dilations=dilations,
            out_indices=out_indices,
            **kwargs,
        )

    def forward_stem(self, x: Tensor) -> Tensor:
        """Run the layers before the first stage on images ``(N, C, H, W)``."""
        return self.relu(self.norm1(self.conv1(x)))
