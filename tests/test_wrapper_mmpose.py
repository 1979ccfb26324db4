"""mmpose's estimators with shared attention; skipped where mmpose is not installed."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from networks import randomize
from wrapped import HRNET, IMAGES, SE, assert_close

from ean_mm.models import masked_modules

pytest.importorskip('mmpose', reason='mmpose is not installed')

BACKBONES = {
    'ResNet': (dict(depth=50, base_channels=8, stem_channels=8), 256, (3, 4, 6, 3)),
    'HRNet': (HRNET, 8, (2, 2, 2, 4, 4, 4, 2, 2, 2, 2)),
}
each = pytest.mark.parametrize('name', BACKBONES)


def estimator(name, **wrapper):
    """Build an estimator of three key points; with arguments, around our wrapper."""
    inner, channels, _ = BACKBONES[name]
    backbone = dict(type=name, **inner)
    if wrapper:
        backbone = dict(type='EANWrapper', backbone=backbone, **wrapper)
    codec = dict(
        type='MSRAHeatmap', input_size=(64, 64), heatmap_size=(16, 16), sigma=2
    )
    deconv = {} if name == 'ResNet' else dict(deconv_out_channels=None)
    head = dict(type='HeatmapHead', in_channels=channels, out_channels=3,
                loss=dict(type='KeypointMSELoss'), decoder=codec, **deconv)  # fmt: skip
    with DefaultScope.overwrite_default_scope('mmpose'):
        cfg = dict(type='TopdownPoseEstimator', backbone=backbone, head=head)
        return randomize(MODELS.build(cfg))


@each
@torch.no_grad()
def test_without_bits_an_estimator_with_its_checkpoint_is_the_plain_one(name):
    theirs, ours = estimator(name), estimator(name, attention=SE, mask='none')
    assert isinstance(ours.backbone, type(theirs.backbone))
    assert ours.backbone.stage_blocks == BACKBONES[name][2]
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not unexpected
    assert missing and all(key.startswith('backbone.attentions.') for key in missing)
    assert torch.equal(ours(IMAGES, None), theirs(IMAGES, None))
    ours.backbone.set_mask('all')
    assert not torch.equal(ours(IMAGES, None), theirs(IMAGES, None))


@each
def test_every_plugged_module_gets_a_gradient(name):
    model = estimator(name, attention=SE, share='block').train()
    model(IMAGES, None).cos().sum().backward()
    (backbone,) = masked_modules(model).values()
    modules = [module for stage in backbone.plugged for module in stage]
    assert len(modules) == sum(backbone.stage_blocks)
    for module in modules:
        assert all(parameter.grad.any() for parameter in module.parameters())


@each
@torch.no_grad()
def test_an_estimator_is_deployed(name):
    model = estimator(name, attention=dict(type='DIAAttention'))
    expected = model(IMAGES, None)
    model.backbone.switch_to_deploy()
    assert_close([model(IMAGES, None)], [expected], 1e-5)
