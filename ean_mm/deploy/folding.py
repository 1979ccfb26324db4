"""Fold norm layers, drop unused attention, take gates where they are cheapest."""

from typing import Any

import torch
from mmcv.cnn.bricks import Conv2dAdaptivePadding, ConvModule
from mmcv.cnn.utils.fuse_conv_bn import fuse_conv_bn
from torch import nn

from ean_mm.errors import EANError
from ean_mm.models.attention.base import GateAttention, gives_gate
from ean_mm.models.blocks import EANBottleneck

MEMORY_FORMATS = dict(
    channels_last=torch.channels_last, contiguous=torch.contiguous_format
)


@torch.no_grad()
def fold(backbone: Any, memory_format: str) -> None:
    """Fold a masked backbone for its ``switch_to_deploy``, which plugs in what is left.

    Its ``attentions`` become one list a stage, with what each block runs: the module
    that its bit plugs in, or that module's form for the input of the block's last
    convolution, or an identity where the bit is 0.

    Args:
        backbone: A :class:`~ean_mm.models.masked_backbone.MaskedBackbone`; nothing
            changes if it is deployed already.
        memory_format: A key of :data:`MEMORY_FORMATS`.

    Raises:
        ValueError: Unknown memory format, or layers that cannot be folded.
    """
    if memory_format not in MEMORY_FORMATS:
        raise EANError(
            f'memory_format={memory_format!r} is unknown; use '
            f'{", ".join(MEMORY_FORMATS)}'
        )
    if backbone.deployed:
        return
    require_foldable(backbone)
    backbone.eval()
    plugged = backbone.plugged
    backbone.attentions = nn.ModuleList()  # what norm layers are in it stay
    fuse_conv_bn(backbone)
    if backbone.attention is not None:
        unused = nn.Identity()
        for stage, modules in zip(backbone.masked_blocks, plugged):
            moved = (
                unused if module is None else take_gate_early(block, module)
                for block, module in zip(stage, modules)
            )
            backbone.attentions.append(nn.ModuleList(moved))
    backbone.requires_grad_(False)
    backbone.to(memory_format=MEMORY_FORMATS[memory_format])


def require_foldable(backbone: nn.Module) -> None:
    """Refuse layers that mmcv's ``fuse_conv_bn`` would fold into something else."""
    for name, layer in backbone.named_modules():
        if name.startswith('attentions'):
            continue
        own_conv = isinstance(layer, nn.Conv2d) and type(layer).forward not in (
            nn.Conv2d.forward,
            Conv2dAdaptivePadding.forward,
        )
        if own_conv or hasattr(layer, 'deform_groups'):
            raise EANError(
                f'{name} is a {type(layer).__name__}, into which no norm layer can be '
                'folded; a network with it cannot be deployed'
            )
        if isinstance(layer, ConvModule) and layer.order[0] != 'conv':
            raise EANError(
                f'{name} normalises before its convolution, so that its norm layer '
                'cannot be folded; a network with it cannot be deployed'
            )
        if isinstance(layer, nn.BatchNorm2d) and (
            layer.weight is None or layer.running_var is None
        ):
            raise EANError(
                f'{name} has no weights or no running statistics to fold; a network '
                'with it cannot be deployed'
            )


def take_gate_early(block: nn.Module, attention: nn.Module) -> nn.Module:
    """Let a block take its gate from the input of its last convolution, if it can.

    Args:
        block: A residual block whose norm layers are folded.
        attention: The attention that is plugged in.

    Returns:
        What the block runs in place of the attention from now on.
    """
    moved = None
    if (
        isinstance(block, EANBottleneck)
        and isinstance(block.norm3, nn.Identity)
        and isinstance(attention, GateAttention)
        and gives_gate(attention)
    ):
        moved = attention.for_input_of(block.conv3)
        block.gates_early = moved is not None
    return attention if moved is None else moved
