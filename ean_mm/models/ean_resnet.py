"""ResNet with one shared attention module a stage and a mask of where it is plugged."""

from typing import Any, Dict, List, Optional, Tuple, Type, Union

import torch
from mmcv.cnn.utils.fuse_conv_bn import fuse_conv_bn
from mmengine.registry import MODELS
from mmpretrain.models.backbones.resnet import ResNet
from mmpretrain.models.backbones.resnet_cifar import ResNet_CIFAR
from torch import Tensor, nn

from ean_mm.errors import EANError
from ean_mm.models.attention import build_attention
from ean_mm.models.blocks import AttentionBlock, EANBasicBlock, EANBottleneck, EANStage
from ean_mm.models.masked import MaskedModule
from ean_mm.models.packed_conv import PackedConv2d, pack_convolutions

MEMORY_FORMATS = dict(
    channels_last=torch.channels_last, contiguous=torch.contiguous_format
)


@MODELS.register_module()
class EANResNet(MaskedModule, ResNet):
    """ResNet whose residual blocks share one attention module a stage.

    Source: Efficient Attention Network (https://arxiv.org/abs/2011.14058). A mask has
    one bit for each residual block; where it is 1, the attention module of the stage
    scales the residual branch before the addition. Without attention the network is
    mmpretrain's ``ResNet``, and its checkpoints load with nothing but the attention's
    keys (``attentions.*``) missing.

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
        **kwargs: Everything else that mmpretrain's ``ResNet`` takes.

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
        if share not in ('stage', 'block'):
            raise EANError(f"share={share!r} is unknown; use 'stage' or 'block'")
        if pretrained is not None:
            if kwargs.get('init_cfg') is not None:
                raise EANError('give either pretrained or init_cfg, not both')
            kwargs['init_cfg'] = dict(type='Pretrained', checkpoint=pretrained)
        # The parent builds the stages and freezes some of them in its constructor.
        self.contract_dilation = contract_dilation
        self.freeze_attention = False
        self.deployed = False
        super().__init__(depth, zero_init_residual=zero_init_residual, **kwargs)

        self.share = share
        self.attention = attention
        self.attentions = nn.ModuleList()
        if attention is not None:
            self.attentions.extend(
                self._build_attention(stage) for stage in self.stages
            )
        self.set_mask(mask)
        self.freeze_attention = freeze_attention
        self._freeze_stages()
        if deploy:
            self.switch_to_deploy('channels_last' if deploy is True else deploy)

    def make_res_layer(self, **kwargs: Any) -> EANStage:
        return EANStage(contract_dilation=self.contract_dilation, **kwargs)

    def _build_attention(self, stage: EANStage) -> nn.Module:
        """One module for the stage, or a list with one for each of its blocks."""
        channels = stage[-1].out_channels
        if self.share == 'stage':
            return build_attention(self.attention, channels)
        return nn.ModuleList(build_attention(self.attention, channels) for _ in stage)

    @property
    def stages(self) -> List[EANStage]:
        """The network's stages."""
        return [getattr(self, name) for name in self.res_layers]

    @property
    def network(self) -> str:
        """Name of the network in mask files, as ``'EANResNet-50'``."""
        return f'{type(self).__name__}-{self.depth}'

    def block_attentions(self, stage: int) -> Optional[List[nn.Module]]:
        """The attention module of each block of a stage, None for a plain network."""
        if not self.attentions:
            return None
        attention: Any = self.attentions[stage]
        if self.share == 'stage' and not self.deployed:
            return [attention] * self.stage_blocks[stage]
        return list(attention)

    def set_mask(self, mask: Any) -> None:
        if self.deployed:
            raise EANError(
                f'{self.network} is deployed for the mask {self.mask}; to change it, '
                'deploy the trained checkpoint again'
            )
        super().set_mask(mask)

    @torch.no_grad()
    def switch_to_deploy(self, memory_format: str = 'channels_last') -> None:
        """Turn the network into its fastest form for inference, with the same output.

        The norm layers are folded into the convolutions, attention that no bit uses is
        dropped, and where attention follows a 1x1 convolution its gate is taken from
        the convolution's input. On a CPU the weights are kept as oneDNN wants them, a
        second copy of them for each of the last two input shapes. The mask is fixed
        then, and the network cannot be trained any more. A second call changes nothing.

        Args:
            memory_format: Of the weights: ``'channels_last'``, on most machines the
                faster one, or ``'contiguous'``. Feature maps follow them, but where
                oneDNN packs the weights they are in channels-last order.

        Raises:
            ValueError: Unknown memory format, or norm layers that cannot be folded.
        """
        if memory_format not in MEMORY_FORMATS:
            raise EANError(
                f'memory_format={memory_format!r} is unknown; use '
                f'{", ".join(MEMORY_FORMATS)}'
            )
        if self.deployed:
            return
        require_foldable(self)
        self.eval()
        attentions = [self.block_attentions(i) for i in range(len(self.stages))]
        self.attentions = nn.ModuleList()  # what norm layers are in it stay
        fuse_conv_bn(self)
        for stage, modules, bits in zip(self.stages, attentions, self.mask.stages):
            plugged = [
                block.switch_to_deploy(module if bit else None)
                for block, module, bit in zip(stage, modules or bits, bits)
            ]
            if self.attention is not None:
                unused = nn.Identity()
                self.attentions.append(
                    nn.ModuleList(unused if m is None else m for m in plugged)
                )
        pack_convolutions(self)
        if isinstance(getattr(self, 'conv1', None), PackedConv2d) and isinstance(
            self.norm1, nn.Identity
        ):
            self.conv1.relu, self.relu = True, nn.Identity()
        self.deployed = True
        self.requires_grad_(False)
        self.to(memory_format=MEMORY_FORMATS[memory_format])

    def num_attention_parameters(self) -> int:
        """Count the parameters of the attention modules that the mask plugs in."""
        plugged = {
            module
            for i, bits in enumerate(self._mask.stages)
            for module, bit in zip(self.block_attentions(i) or (), bits)
            if bit
        }
        parameters = {p for module in plugged for p in module.parameters()}
        return sum(p.numel() for p in parameters)

    def forward_stem(self, x: Tensor) -> Tensor:
        """Run the layers before the first stage on images ``(N, C, H, W)``."""
        if self.deep_stem:
            x = self.stem(x)
        else:
            x = self.relu(self.norm1(self.conv1(x)))
        return self.maxpool(x)

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Return the feature maps of the stages in ``out_indices``.

        Args:
            x: Images of shape ``(N, in_channels, H, W)``.
        """
        x = self.forward_stem(x)
        outs = []
        for i, (stage, bits) in enumerate(zip(self.stages, self._mask.stages)):
            x = stage(x, self.block_attentions(i), bits, self.share == 'stage')
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def _freeze_stages(self) -> None:
        super()._freeze_stages()
        if self.freeze_attention:
            for attention in self.attentions[: max(self.frozen_stages, 0)]:
                attention.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> 'EANResNet':
        if mode and self.deployed:
            raise EANError(
                f'{self.network} is deployed and cannot be trained; train the '
                'checkpoint that it was made of'
            )
        super().train(mode)
        if not self.freeze_attention:
            self.attentions.train(mode)  # norm_eval has put their norm layers to eval
        return self

    def _load_from_state_dict(
        self, state_dict: Dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Load, reading the layers that mmseg and mmdet number differently."""

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
        if self.deployed and f'{prefix}layer1.0.bn1.running_mean' in state_dict:
            raise EANError(
                f'the weights for {self.network} are not deployed and the network is; '
                'convert them with tools/model_converters/deploy.py, or build it '
                'without deploy'
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def require_foldable(module: nn.Module) -> None:
    """Refuse layers that mmcv's ``fuse_conv_bn`` would fold into something else."""
    for name, layer in module.named_modules():
        if name.startswith('attentions'):
            continue
        if isinstance(layer, nn.Conv2d) and type(layer).forward is not (
            nn.Conv2d.forward
        ):
            raise EANError(
                f'{name} is a {type(layer).__name__}, into which no norm layer can be '
                'folded; a network with it cannot be deployed'
            )
        if isinstance(layer, nn.BatchNorm2d) and (
            layer.weight is None or layer.running_var is None
        ):
            raise EANError(
                f'{name} has no weights or no running statistics to fold; a network '
                'with it cannot be deployed'
            )


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
