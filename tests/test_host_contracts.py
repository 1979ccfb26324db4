"""What the toolboxes ask of a backbone, kept: checked with their own classes."""

import copy

import pytest
import torch
from mmengine.registry import MODELS
from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from mmpretrain.models import ImageClassifier
from networks import randomize

SE = dict(type='SEAttention')
SMALL = dict(base_channels=8, stem_channels=8)
EAN = dict(type='EANResNet', attention=SE, **SMALL)
WRAPPED = dict(
    type='EANWrapper',
    backbone=dict(type='mmpretrain.ResNeXt', groups=1, width_per_group=4, **SMALL),
    attention=SE,
)


def scaled(cfg, depth, **options):
    """A config of ours with a depth, wherever it takes it."""
    cfg = copy.deepcopy(cfg)
    cfg.get('backbone', cfg)['depth'] = depth
    return {**cfg, **options}


# layer-wise learning rate decay


def learning_rates(backbone, decay=0.5):
    """The rate of each parameter under mmpretrain's own constructor, by its name."""
    model = ImageClassifier(backbone=backbone)
    constructor = LearningRateDecayOptimWrapperConstructor(
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1.0, weight_decay=0.1)),
        paramwise_cfg=dict(layer_decay_rate=decay),
    )
    groups = constructor(model).optimizer.param_groups
    return {group['param_name']: group['lr'] for group in groups}


@pytest.mark.parametrize('cfg', [EAN, WRAPPED], ids=['EANResNet', 'EANWrapper'])
def test_attention_has_the_learning_rate_of_its_stage(cfg):
    """ResNet-50 has the depths 0 (stem), 1, 2-3, 4-5, 6 (last stage) and 7 (head)."""
    rates = learning_rates(scaled(cfg, 50))
    assert rates['backbone.layer4.2.conv3.weight'] == 1 / 2
    names = sorted(name for name in rates if 'attentions' in name)
    assert len(names) == 4 * 4
    of_stage = [1 / 2**6, 1 / 2**4, 1 / 2**2, 1 / 2]
    for name in names:
        stage = int(name.split('.')[2])
        assert rates[name] == of_stage[stage], name
        last = (2, 3, 5, 2)[stage]
        assert rates[name] == rates[f'backbone.layer{stage + 1}.{last}.conv3.weight']


@pytest.mark.parametrize('cfg', [EAN, WRAPPED], ids=['EANResNet', 'EANWrapper'])
def test_unshared_attention_has_the_learning_rate_of_its_block(cfg):
    rates = learning_rates(scaled(cfg, 50, share='block'))
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            where = f'backbone.layer{stage + 1}.{block}.conv3.weight'
            for name, rate in rates.items():
                if name.startswith(f'backbone.attentions.{stage}.{block}.'):
                    assert rate == rates[where]


def test_a_backbone_that_cannot_say_depths_is_refused_as_without_ean_mm():
    """mmdet's ResNet has no get_layer_depth."""
    pytest.importorskip('mmdet')
    inner = dict(type='mmdet.ResNet', depth=50, **SMALL)
    for backbone in (inner, dict(type='EANWrapper', backbone=inner, attention=SE)):
        with pytest.raises(NotImplementedError, match='get_layer_depth'):
            learning_rates(backbone)


# stages that the host calls itself


def icnet(backbone):
    pytest.importorskip('mmseg')
    return randomize(
        MODELS.build(
            dict(
                type='mmseg.ICNet',
                backbone_cfg=backbone,
                layer_channels=(16, 64),
                light_branch_middle_channels=8,
                psp_out_channels=8,
                out_channels=(8, 8, 8),
            )
        )
    )


V1C = dict(type='mmseg.ResNetV1c', depth=18, out_indices=(0, 1, 2, 3), **SMALL)
IN_ICNET = [
    scaled(EAN, 18, deep_stem=True, out_indices=(0, 1, 2, 3)),
    dict(type='EANWrapper', backbone=V1C, attention=SE),
]
in_icnet = pytest.mark.parametrize('cfg', IN_ICNET, ids=['EANResNet', 'EANWrapper'])


@in_icnet
def test_icnet_runs_its_backbones_stages_with_their_attention(cfg):
    """It calls layer1 to layer4 one by one, never the backbone."""
    model, plain = icnet(cfg), icnet(V1C)
    assert not model.load_state_dict(plain.state_dict(), strict=False).unexpected_keys
    images = torch.randn(2, 3, 128, 128)
    outs = model(images)
    sum(out.sum() for out in outs).backward()
    assert all(p.grad is not None for p in model.backbone.attentions.parameters())
    model.backbone.set_mask('none')
    with torch.no_grad():
        without = model(images)
        assert all(map(torch.equal, without, plain(images)))
    assert torch.equal(outs[0], without[0])  # the branch without a backbone
    for ours, theirs in zip(outs[1:], without[1:]):
        assert not torch.allclose(ours, theirs)


@in_icnet
@torch.no_grad()
def test_icnet_runs_a_deployed_backbone(cfg):
    model = icnet({**cfg, 'mask': '10-01-11-00'})
    images = torch.randn(2, 3, 128, 128)
    expected = model(images)
    model.backbone.switch_to_deploy()
    for ours, theirs in zip(model(images), expected):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
