"""The channels-last format, and what cannot do with it."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmcv import ops
from torch import nn

from ean_mm import EANError, EANWrapper
from ean_mm.hooks import ChannelsLastHook


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
