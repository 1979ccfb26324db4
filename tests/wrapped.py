"""Other packages' backbones, small, with our attention or without."""

import pytest
import torch
from mmengine.registry import MODELS
from networks import randomize

from ean_mm import EANWrapper

SE = dict(type='SEAttention')

SMALL = dict(base_channels=16, stem_channels=16, out_indices=(0, 1, 2, 3))
TWO_STAGES = dict(
    base_channels=16, stem_channels=16, num_stages=2, strides=(1, 2), dilations=(1, 1),
    out_indices=(0, 1))  # fmt: skip
REGNET = dict(
    arch=dict(w0=16, wa=16.0, wm=2.0, group_w=8, depth=6, bot_mul=1.0),
    stem_channels=8, base_channels=8, strides=(1, 2, 1, 1),
    out_indices=(0, 1, 2, 3))  # fmt: skip
HRNET = dict(
    extra={
        f'stage{i + 1}': dict(
            num_modules=modules,
            num_branches=i + 1,
            block='BASIC' if i else 'BOTTLENECK',
            num_blocks=(2,) * (i + 1),
            num_channels=(8, 16, 32, 64)[: i + 1],
        )
        for i, modules in enumerate((1, 1, 2, 1))
    }
)
CONVNEXT = dict(
    arch=dict(depths=[1, 2, 1, 1], channels=[8, 16, 32, 64]), out_indices=(0, 1, 2, 3),
    gap_before_final_norm=False, layer_scale_init_value=0.1)  # fmt: skip
RESNETS = {
    'mmpretrain.ResNet': dict(depth=18, **SMALL),
    'mmpretrain.ResNeXt': dict(depth=50, groups=4, **TWO_STAGES),
    'mmpretrain.Res2Net': dict(depth=50, **TWO_STAGES),
    'mmpretrain.RegNet': REGNET,
    'mmpretrain.SEResNet': dict(depth=50, **TWO_STAGES),
    'mmpretrain.SEResNeXt': dict(depth=50, groups=4, **TWO_STAGES),
    'mmpretrain.ResNeSt': dict(depth=50, **TWO_STAGES),
    'mmpretrain.ResNetV1d': dict(depth=50, **TWO_STAGES),
    'mmdet.ResNet': dict(depth=18, **SMALL),
    'mmdet.ResNeXt': dict(depth=50, groups=4, base_width=4, **TWO_STAGES),
    'mmdet.Res2Net': dict(depth=50, **TWO_STAGES),
    'mmdet.RegNet': REGNET,
    'mmdet.ResNeSt': dict(depth=50, **TWO_STAGES),
    'mmseg.ResNet': dict(depth=18, **SMALL),
    'mmseg.ResNeXt': dict(depth=50, groups=4, base_width=4, **TWO_STAGES),
    'mmseg.ResNetV1c': dict(depth=50, **TWO_STAGES),
    'mmseg.ResNeSt': dict(depth=50, **TWO_STAGES),
}
FAMILIES = {
    'mmdet.CSPNeXt': dict(deepen_factor=0.33, widen_factor=0.125),
    'mmdet.CSPDarknet': dict(deepen_factor=0.33, widen_factor=0.125),
    'mmdet.HRNet': HRNET,
    'mmpretrain.HRNet': HRNET,
    'mmpretrain.MobileNetV2': dict(widen_factor=0.25),
    'mmseg.MobileNetV2': dict(widen_factor=0.25, dilations=(1, 1, 1, 2, 2, 4, 4)),
    'mmpretrain.MobileNetV3': dict(arch='small'),
    'mmseg.MobileNetV3': dict(arch='small'),
    'mmdet.EfficientNet': dict(arch='b0', out_indices=(2, 3, 4)),
    'mmpretrain.EfficientNet': dict(arch='es', out_indices=(6,)),
    'mmpretrain.ConvNeXt': CONVNEXT,
}
BACKBONES = {**RESNETS, **FAMILIES}
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def plain(name, **kwargs):
    pytest.importorskip(name.split('.')[0])
    return randomize(MODELS.build(dict(type=name, **BACKBONES[name], **kwargs)))


def wrap(name, attention=SE, inner=None, **kwargs):
    pytest.importorskip(name.split('.')[0])
    backbone = dict(type=name, **BACKBONES.get(name, {}), **(inner or {}))
    return randomize(EANWrapper(backbone, attention=attention, **kwargs))


def run(model, images=IMAGES):
    """Return the outputs and the gradients of a training step."""
    model.train()
    model.zero_grad()
    outs = model(images.to(next(model.parameters()).dtype))
    sum(out.cos().sum() for out in outs).backward()
    return outs, {name: p.grad for name, p in model.named_parameters()}


def assert_close(ours, theirs, tolerance):
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() <= tolerance * b.norm() + 1e-12
