"""Which blocks of a backbone take attention, and which of them share a module."""

from contextlib import suppress
from typing import Any, Dict, List, Mapping, Sequence, Union

import torch
from mmpretrain.models.utils.sparse_modules import SparseHelper
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from ean_mm.errors import EANError, one_line
from ean_mm.models.residual_end import ResidualEnd, as_maps

Names = Union[str, Sequence[str]]

RESIDUAL_ENDS: Dict[str, Names] = dict(
    BasicBlock=('norm2', 'conv2'),  # ResNet, HRNet and relatives; DDRNet, PIDNet
    Bottleneck=('norm3', 'conv3'),  # the same
    CSPNeXtBlock='conv2',  # CSPNeXt of RTMDet
    DarknetBottleneck='conv2',  # CSPDarknet of YOLOX and YOLO
    ResBlock='conv2',  # Darknet of YOLOv3
    InvertedResidual=('linear_conv', 'conv'),  # MobileNetV3, EfficientNet; V2
    InvertedResidualV3='linear_conv',  # MobileNetV3 of mmseg
    EdgeResidual='conv2',  # EfficientNet
    ConvNeXtBlock='pointwise_conv2',  # before its scale and drop path
)
"""The layer that ends the residual branch in each class of block and its subclasses; of
several names the first one that a block has. A layer is a name or a path (``'mlp.1'``).
"""

SHORTCUTS = ('add_identity', 'use_res_connect', 'with_res_shortcut', 'with_residual')
"""attributes by which the toolboxes' blocks say whether they have a shortcut"""

OWN_ATTENTION = ('SELayer', 'ChannelAttention')
"""classes of the squeeze-and-excitation that some of the toolboxes' backbones have"""

SIZE = 64
"""height and width in pixels of the image that shows which blocks belong together"""


def find_ends(
    backbone: nn.Module, residual_ends: Mapping[str, Names], shortcut_only: bool
) -> Dict[str, ResidualEnd]:
    """Find where the residual branches of a backbone end, by the names of the blocks.

    Args:
        backbone: Whose blocks.
        residual_ends: More lines for :data:`RESIDUAL_ENDS`, or other ones.
        shortcut_only: Whether to leave out blocks without a shortcut.

    Raises:
        ValueError: A block has no such layer, or there is no block.
    """
    table = {**RESIDUAL_ENDS, **residual_ends}
    ends = {}
    for name, block in backbone.named_modules():
        kinds = [kind.__name__ for kind in type(block).__mro__]
        layers = next((table[kind] for kind in kinds if kind in table), ())
        if shortcut_only and not all(getattr(block, flag, True) for flag in SHORTCUTS):
            continue
        layers = (layers,) if isinstance(layers, str) else layers
        for layer in layers:
            with suppress(AttributeError):
                ends[name] = ResidualEnd(block, layer)
                break
        if layers and name not in ends:
            raise EANError(
                f'{kinds[0]} has no layer {" or ".join(layers)}; say which one ends '
                f"its residual branch: residual_ends=dict({kinds[0]}='LAYER')"
            )
    if not ends:
        raise EANError(
            f'{type(backbone).__name__} is no backbone for EANWrapper: it has no '
            'residual blocks of a known class; if it has others, say which layer ends '
            "their residual branch: residual_ends=dict(MyBlock='conv2')"
        )
    return ends


@torch.no_grad()
def group_ends(
    backbone: nn.Module, ends: Mapping[str, ResidualEnd], in_channels: int
) -> List[List[ResidualEnd]]:
    """Group the ends of a backbone whose blocks share a module: a stage and a width.

    The backbone is run once. Blocks belong together whose residual branches end with
    the same number of channels, height and width, if they follow one another or are in
    the same child of the backbone. HRNet, a child a stage, comes back to a branch of
    this stage after the others.

    Args:
        backbone: Whose blocks; it is left in training mode.
        ends: Where the residual branches end, by the names of the blocks; each gets
            its number of channels.
        in_channels: Of the image that the backbone takes.

    Returns:
        The ends of each group, in the order of execution.

    Raises:
        ValueError: The backbone cannot be run.
    """
    names = {end.layer: name for name, end in ends.items()}
    shapes: Dict[str, Any] = {}

    def note(layer: nn.Module, args: Any, out: Tensor) -> None:
        if layer in names:
            shapes.setdefault(names[layer], as_maps(layer, out).shape[1:])

    image = next(backbone.parameters()).new_zeros(1, in_channels, SIZE, SIZE)
    # SparK's networks see the patches that are active: here the only one.
    SparseHelper._cur_active = image.new_ones(1, 1, 1, 1)
    backbone.eval()
    try:
        with register_module_forward_hook(note):
            backbone(image)
    except Exception as error:
        raise EANError(
            f'{type(backbone).__name__} is no backbone for EANWrapper: it cannot run '
            f'an image of shape {tuple(image.shape)}: {one_line(error)}'
        ) from error
    finally:
        SparseHelper._cur_active = None
    backbone.train()
    groups: Dict[Any, List[ResidualEnd]] = {}
    last = None
    for name, shape in shapes.items():
        if shape != last:
            group = groups.setdefault((name.partition('.')[0], shape), [])
        group.append(ends[name])
        ends[name].channels, last = shape[0], shape
    return [*groups.values()]


def remove_attention(backbone: nn.Module) -> None:
    """Replace a backbone's own squeeze-and-excitation by identities."""
    for name, module in [*backbone.named_modules()]:
        if type(module).__name__ in OWN_ATTENTION:
            backbone.set_submodule(name, nn.Identity())
