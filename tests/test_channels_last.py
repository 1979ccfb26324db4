"""The channels-last format, and what cannot do with it."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmcv import ops
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from ean_mm import EANError, EANWrapper
from ean_mm.deploy import MEMORY_FORMATS
from ean_mm.hooks import ChannelsLastHook
from ean_mm.launch import load_config


class Detector(nn.Module):
    """A deformable convolution and RoIAlign behind a convolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.deformable = ops.ModulatedDeformConv2dPack(16, 16, 3, padding=1)
        self.roi_align = ops.RoIAlign(7)
        nn.init.normal_(self.deformable.conv_offset.weight, std=0.1)

    def forward(self, x):
        rois = torch.tensor([[0, 1.0, 1.0, 9.0, 9.0], [1, 2.0, 3.0, 15.0, 12.0]])
        x = self.conv(x)
        return self.roi_align(input=x, rois=rois), self.deformable(x)


@torch.no_grad()
def test_mmcvs_operators_get_contiguous_maps():
    model = Detector().eval()
    ours, images = copy.deepcopy(model), torch.randn(2, 3, 20, 24)
    ChannelsLastHook().before_run(SimpleNamespace(model=ours))
    maps = ours.conv(images)
    assert maps.is_contiguous(memory_format=torch.channels_last)
    for result, expected in zip(ours(images), model(images)):
        torch.testing.assert_close(result, expected)


@pytest.fixture
def two_stages(root):
    """A small Faster R-CNN, of a config that ships."""
    pytest.importorskip('mmdet.models')
    name = 'configs/ean_det/faster-rcnn_ean-r50-se_fpn_1x_coco.py'
    cfg = load_config(str(root / name), None, None)
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.update(
        depth=18, base_channels=16, stem_channels=16, mask='all', init_cfg=None
    )
    cfg.model.neck.update(in_channels=[16, 32, 64, 128], out_channels=16)
    cfg.model.rpn_head.update(in_channels=16, feat_channels=16)
    cfg.model.roi_head.bbox_roi_extractor.out_channels = 16
    cfg.model.roi_head.bbox_head.update(in_channels=16, fc_out_channels=16)
    return MODELS.build(cfg.model).eval()


@torch.no_grad()
def regions(model):
    images = torch.linspace(-1, 1, 2 * 3 * 64 * 96).sin().view(2, 3, 64, 96)
    rois = torch.tensor([[0, 1.0, 1.0, 39.0, 39.0], [1, 2.0, 3.0, 60.0, 50.0]])
    extract = model.roi_head.bbox_roi_extractor
    return extract(model.extract_feat(images)[: extract.num_inputs], rois)


@pytest.mark.parametrize('memory_format', MEMORY_FORMATS)
def test_a_deployed_two_stage_detector_sees_the_same_regions(two_stages, memory_format):
    expected = regions(two_stages)
    two_stages.backbone.switch_to_deploy(memory_format)
    torch.testing.assert_close(regions(two_stages), expected, rtol=1e-3, atol=1e-4)


def test_a_channels_last_two_stage_detector_sees_the_same_regions(two_stages):
    expected = regions(two_stages)
    ChannelsLastHook().before_run(SimpleNamespace(model=two_stages))
    torch.testing.assert_close(regions(two_stages), expected, rtol=1e-3, atol=1e-4)


def test_deformable_convolutions_are_not_deployed():
    pytest.importorskip('mmdet.models')
    model = EANWrapper(
        dict(
            type='mmdet.ResNet',
            depth=50,
            base_channels=16,
            stem_channels=16,
            dcn=dict(type='DCNv2', deform_groups=1, fallback_on_stride=False),
            stage_with_dcn=(False, True, True, True),
        ),
        attention=dict(type='SEAttention'),
    )
    with pytest.raises(EANError, match='layer2.0.conv2 is a Mod.*cannot be deployed'):
        model.switch_to_deploy()
