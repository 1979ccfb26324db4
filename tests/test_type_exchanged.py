"""A stock config whose backbone's type alone is exchanged for ours."""

import copy
import inspect

import pytest
import torch
from mmengine.hub import get_config
from mmengine.registry import MODELS, DefaultScope
from networks import randomize
from torch import nn

from ean_mm import EANError, EANResNet, EANResNetCIFAR, EANResNetV1c, EANResNetV1d

SE = dict(type='SEAttention')
SMALL = dict(base_channels=8, stem_channels=8)
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


toolboxes = pytest.mark.parametrize('scope', ['mmpretrain', 'mmdet', 'mmseg'])
DEPARTURES = {'zero_init_residual', 'init_cfg'}
"""what EANResNet starts otherwise in every scope, as the paper does"""


def in_scope(scope, cfg):
    """Build a config as a model of a toolbox does."""
    pytest.importorskip(scope)
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(cfg)


@toolboxes
def test_options_that_are_not_given_are_those_of_the_scopes_resnet(scope):
    for options in (dict(depth=18), dict(depth=18, base_channels=16)):
        theirs = in_scope(scope, dict(type='ResNet', **options))
        ours = in_scope(scope, dict(type='EANResNet', **options))
        assert type(theirs).__module__.startswith(scope)
        for name in inspect.signature(type(theirs).__init__).parameters:
            if hasattr(theirs, name) and hasattr(ours, name) and name not in DEPARTURES:
                assert getattr(ours, name) == getattr(theirs, name), name
        ours.train(), theirs.train()
        modules = dict(ours.named_modules())
        for name, module in theirs.named_modules():
            assert modules[name].training == module.training, name
        shapes = {key: value.shape for key, value in theirs.state_dict().items()}
        assert {k: v.shape for k, v in ours.state_dict().items()} == shapes


@pytest.mark.parametrize(
    'config',
    ['mmdet::solo/solo_r50_fpn_1x_coco.py', 'mmdet::tood/tood_r50_fpn_1x_coco.py'],
)
def test_a_stock_detector_trains_the_norm_layers_that_it_did(config):
    """SOLO does not name norm_eval, TOOD does."""
    pytest.importorskip('mmdet')
    cfg = get_config(config)
    cfg.model.backbone.init_cfg = None
    theirs = in_scope('mmdet', copy.deepcopy(cfg.model))
    cfg.model.backbone.update(type='EANResNet', attention=SE)
    ours = in_scope('mmdet', cfg.model)

    def state(model):
        model.train()
        return [
            (name, m.training, [p.requires_grad for p in m.parameters()])
            for name, m in model.backbone.named_modules()
            if isinstance(m, nn.BatchNorm2d)
        ]

    assert state(ours) == state(theirs) and len(state(ours)) == 53


@toolboxes
def test_options_that_are_given_and_a_scope_of_the_backbones_own_count(scope):
    given = in_scope(
        scope,
        dict(
            type='EANResNet', depth=18, norm_eval=False, out_indices=(2,),
            base_channels=16, stem_channels=8,
        ),
    )  # fmt: skip
    assert (given.norm_eval, given.out_indices) == (False, (2,))
    assert given.conv1.out_channels == 8
    own = in_scope(scope, dict(type='EANResNet', depth=18, _scope_='mmpretrain'))
    assert (own.norm_eval, own.out_indices) == (False, (3,))
    small = in_scope(scope, dict(type='EANResNetCIFAR', depth=20))
    assert (small.norm_eval, small.out_indices) == (False, (2,))


def test_outside_any_scope_the_defaults_are_mmpretrains(monkeypatch):
    monkeypatch.setattr(
        DefaultScope, '_instance_dict', type(DefaultScope._instance_dict)()
    )
    assert DefaultScope.get_current_instance() is None
    model = EANResNet(18, base_channels=8)
    assert (model.norm_eval, model.out_indices) == (False, (3,))
    assert model.conv1.out_channels == 64


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_what_only_another_resnet_has_is_taken_while_it_is_off(scope):
    off = dict(dcn=None, stage_with_dcn=(False, True, True, True), plugins=None)
    if scope == 'mmseg':
        off.update(multi_grid=None, contract_dilation=False)
    model = in_scope(scope, dict(type='EANResNet', depth=18, **SMALL, **off))
    assert model.stage_blocks == (2, 2, 2, 2)
    for on in (
        dict(dcn=dict(type='DCN', deform_groups=1)),
        dict(plugins=[dict(cfg=dict(type='ContextBlock'), position='after_conv3')]),
        dict(multi_grid=(1, 2, 4)),
    ):
        with pytest.raises(EANError, match=f'{next(iter(on))}.*EANWrapper'):
            in_scope(scope, dict(type='EANResNet', depth=50, **{**off, **on}))


@pytest.mark.parametrize(
    'scope, variant',
    [('mmpretrain', 'V1c'), ('mmpretrain', 'V1d'), ('mmdet', 'V1d'), ('mmseg', 'V1c'),
     ('mmseg', 'V1d')],
)  # fmt: skip
@torch.no_grad()
def test_a_variants_type_is_all_that_is_exchanged(scope, variant):
    options = dict(depth=50, **SMALL)
    theirs = randomize(in_scope(scope, dict(type=f'ResNet{variant}', **options)))
    cfg = dict(type=f'EANResNet{variant}', attention=SE, mask='none', **options)
    ours = randomize(in_scope(scope, cfg))
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not unexpected and all(key.startswith('attentions.') for key in missing)
    assert all(map(torch.equal, ours(IMAGES), theirs(IMAGES)))
    assert (ours.norm_eval, ours.out_indices) == (theirs.norm_eval, theirs.out_indices)


def test_a_mask_is_for_all_variants_of_a_resnet():
    mask = EANResNetV1d(50, attention=SE, **SMALL)
    assert mask.network == EANResNet(50, deep_stem=True, **SMALL).network


@pytest.mark.parametrize('toolbox', ['mmpretrain', 'mmseg'])
@pytest.mark.parametrize('variant', ['V1c', 'V1d'])
def test_weights_of_another_stem_or_shortcut_are_refused(toolbox, variant, tmp_path):
    """mmengine would report the stem's keys as unexpected and keep a random one.

    The shortcuts' would have fitted.
    """
    pytest.importorskip(toolbox)
    path = str(tmp_path / 'theirs.pth')
    theirs = MODELS.build(dict(type=f'{toolbox}.ResNet{variant}', depth=18, **SMALL))
    torch.save(theirs.state_dict(), path)
    plain = EANResNet(18, pretrained=path, **SMALL)
    with pytest.raises(EANError, match=f"use type='EANResNet{variant}'"):
        plain.init_weights()
    right = {'V1c': EANResNetV1c, 'V1d': EANResNetV1d}[variant]
    model = right(18, pretrained=path, **SMALL)
    model.init_weights()
    last = 'layer4.1.conv2.weight'
    assert torch.equal(model.state_dict()[last], theirs.state_dict()[last])
    if variant == 'V1d':
        with pytest.raises(EANError, match="pool; use type='EANResNetV1d'"):
            EANResNetV1c(18, pretrained=path, **SMALL).init_weights()


@pytest.mark.parametrize('where', ['pretrained', 'init_cfg', 'list'])
def test_deep_stems_are_known_by_the_name_of_their_weights(where):
    """Before anything is downloaded. mmseg's configs have the name in their base."""
    checkpoint = 'open-mmlab://resnet50_v1c'
    init_cfg = dict(type='Pretrained', checkpoint=checkpoint)
    options = dict(
        pretrained=dict(pretrained=checkpoint),
        init_cfg=dict(init_cfg=init_cfg),
        list=dict(init_cfg=[init_cfg]),
    )[where]
    with pytest.raises(EANError, match="v1c has a deep stem.*type='EANResNetV1c'"):
        EANResNet(50, **options)
    assert EANResNet(50, deep_stem=True, **options).deep_stem
    assert EANResNetV1c(50, **options).deep_stem


def test_a_stock_segmentor_swapped_by_its_type_alone_is_refused_or_right():
    """The swap of configs/README.md, on mmseg's own PSPNet."""
    pytest.importorskip('mmseg')
    model = get_config('mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py')
    model = model.model
    theirs = in_scope('mmseg', copy.deepcopy(model.backbone))
    model.backbone.update(type='EANResNet', attention=SE)
    with pytest.raises(EANError, match='EANResNetV1c'):
        in_scope('mmseg', copy.deepcopy(model))
    model.backbone.type = 'EANResNetV1c'
    ours = in_scope('mmseg', model.backbone)
    weights = theirs.state_dict()
    missing, unexpected = ours.load_state_dict(weights, strict=False)
    assert not unexpected and all(key.startswith('attentions.') for key in missing)


def test_what_a_variant_is_cannot_be_changed():
    with pytest.raises(EANError, match='has deep_stem=True; leave deep_stem out'):
        EANResNetV1c(18, deep_stem=False)
    assert EANResNetV1d(18, avg_down=True, **SMALL).avg_down


@pytest.mark.parametrize('depth', [18, 50])
def test_depths_of_mmpretrains_cifar_resnet_are_shown_the_way(depth):
    with pytest.raises(EANError, match=f'depth={depth} .*EANWrapper'):
        EANResNetCIFAR(depth)
    inner = dict(type='mmpretrain.ResNet_CIFAR', depth=depth, **SMALL)
    theirs = randomize(MODELS.build(inner))
    ours = dict(type='EANWrapper', backbone=inner, attention=SE, mask='none')
    ours = randomize(MODELS.build(ours))
    ours.load_state_dict(theirs.state_dict(), strict=False)
    with torch.no_grad():
        without = ours(IMAGES)
        assert torch.equal(without[0], theirs(IMAGES)[0])
        ours.set_mask('all')
        assert not torch.allclose(ours(IMAGES)[0], without[0])
