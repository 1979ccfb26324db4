"""Other packages' backbones with shared attention stay what they are."""

import copy
import pickle

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.models import ResNeXt
from torch import nn
from wrapped import (
    BACKBONES,
    IMAGES,
    SE,
    SMALL,
    TWO_STAGES,
    assert_close,
    plain,
    run,
    wrap,
)

from ean_mm import EANError, EANResNet, EANWrapper

ALL = ['SEAttention', 'SGEAttention', 'DIAAttention', 'SPAAttention', 'ECAAttention',
       'CBAMAttention']  # fmt: skip
each = pytest.mark.parametrize('name', BACKBONES)
guests = pytest.mark.parametrize('name', ['mmpretrain.Res2Net', 'mmdet.ResNet'])


# the same as EANResNet


@pytest.mark.parametrize('share', ['stage', 'block'])
@pytest.mark.parametrize('depth', [18, 50])
@pytest.mark.parametrize('attention', ALL)
def test_around_mmpretrains_resnet_it_is_ean_resnet(attention, depth, share):
    options = dict(attention=dict(type=attention), share=share)
    inner = dict(type='mmpretrain.ResNet', depth=depth, **SMALL)
    ours = EANWrapper(inner, **options).double()
    theirs = EANResNet(depth, **SMALL, **options).double()
    ours.load_state_dict(theirs.state_dict())
    for mask in ('all', 'none', (2, 5, 9, 1) if depth == 50 else (2, 1, 0, 3)):
        for model in (ours, theirs):
            model.set_mask(mask)
        (outs, gradients), (expected, wanted) = run(ours), run(theirs)
        assert_close(outs, expected, 1e-10)
        assert gradients.keys() == wanted.keys()
        for name, gradient in wanted.items():
            if gradient is None:
                assert gradients[name] is None, name
            else:
                assert_close([gradients[name]], [gradient], 1e-8)
        ours.eval(), theirs.eval()
        with torch.no_grad():
            images = IMAGES.double()
            assert_close(ours(images), theirs(images), 1e-10)


@pytest.mark.parametrize('toolbox', ['mmdet', 'mmseg'])
@pytest.mark.parametrize('depth', [18, 50])
@pytest.mark.parametrize('attention', ALL)
def test_blocks_of_other_toolboxes_attend_where_ean_resnet_does(
    attention, depth, toolbox
):
    pytest.importorskip(toolbox)
    options = dict(
        attention=dict(type=attention),
        mask='011-0110-011011-011' if depth == 50 else '01-10-11-01',
    )
    inner = dict(type=f'{toolbox}.ResNet', depth=depth, norm_eval=False, **SMALL)
    ours = EANWrapper(inner, **options).double()
    theirs = EANResNet(depth, **SMALL, **options).double()
    ours.load_state_dict(theirs.state_dict())
    (outs, gradients), (expected, wanted) = run(ours), run(theirs)
    assert_close(outs, expected, 1e-10)
    for name, gradient in wanted.items():
        assert_close([gradients[name]], [gradient], 1e-8)


# the wrapped backbone stays itself


@each
def test_keys_are_the_backbones_own(name):
    theirs, ours = plain(name).state_dict(), wrap(name).state_dict()
    own = {key for key in ours if not key.startswith('attentions.')}
    assert own == set(theirs) and len(ours) > len(own)
    assert set(wrap(name, attention=None).state_dict()) == set(theirs)


@each
@torch.no_grad()
def test_a_plain_checkpoint_gives_the_plain_backbone_without_bits(name):
    theirs, ours = plain(name), wrap(name, mask='none')
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not unexpected and all(key.startswith('attentions.') for key in missing)
    assert all(map(torch.equal, ours(IMAGES), theirs(IMAGES)))
    ours.set_mask('all')
    assert not torch.equal(ours(IMAGES)[-1], theirs(IMAGES)[-1])


@each
def test_it_trains_and_its_state_comes_back(name):
    model = wrap(name)
    model.norm_eval = False
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    before = copy.deepcopy(model.state_dict())
    _, gradients = run(model)
    assert all(gradient is not None for gradient in gradients.values())
    optimizer.step()
    assert any(not torch.equal(before[k], v) for k, v in model.state_dict().items())
    again = wrap(name)
    again.load_state_dict(model.state_dict())
    model.eval()
    with torch.no_grad():
        assert all(map(torch.equal, again(IMAGES), model(IMAGES)))


def test_it_is_an_instance_of_the_backbones_class():
    model = wrap('mmpretrain.ResNeXt', mask='100-0101')
    assert isinstance(model, ResNeXt) and isinstance(model, EANWrapper)
    assert model.groups == 4
    assert (model.network, model.stage_blocks) == ('ResNeXt-50', (3, 4))
    assert str(model.mask) == '100-0101'
    assert model.train() is model and model.eval() is model
    assert repr(model).startswith('ResNeXt(')


def test_frozen_stages_and_norm_eval_leave_the_attention_training():
    class NormAttention(nn.Sequential):
        def __init__(self, channels):
            super().__init__(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))

    options = dict(
        attention=dict(type=NormAttention), inner=dict(frozen_stages=2, norm_eval=True)
    )
    model = wrap('mmdet.ResNet', **options).train()
    assert not any(p.requires_grad for p in model.layer2.parameters())
    assert not model.layer3[0].norm1.training
    assert all(p.requires_grad for p in model.attentions.parameters())
    assert all(attention[1].training for attention in model.attentions)
    model = wrap('mmdet.ResNet', freeze_attention=True, **options).train()
    trainable = [any(p.requires_grad for p in a.parameters()) for a in model.attentions]
    assert trainable == [False, False, True, True]


def unpickle(model):
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize('duplicate', [copy.deepcopy, unpickle])
@guests
@torch.no_grad()
def test_a_copy_has_attention_of_its_own(name, duplicate):
    model = wrap(name)
    copied = duplicate(model)
    assert type(copied) is type(model) and copied.mask == model.mask
    expected = model(IMAGES)
    assert all(map(torch.equal, copied(IMAGES), expected))
    copied.set_mask('none')
    for parameter in copied.attentions.parameters():
        parameter.zero_()
    assert all(map(torch.equal, model(IMAGES), expected))


def test_init_weights_keeps_the_attentions_own_start():
    for name, last in (('mmpretrain.Res2Net', 'norm3'), ('mmdet.ResNet', 'norm2')):
        model = wrap(name, dict(type='SEAttention', init='identity'))
        model.init_weights()
        gate = model.attentions[0].gate(
            torch.rand(1, model.attentions[0].channels, 4, 4)
        )
        assert gate.mean() > 0.95
        assert (getattr(model.layer1[0], last).weight == 0).all()  # zero_init_residual


@pytest.mark.parametrize('where', ['pretrained', 'init_cfg', 'backbone'])
def test_pretrained_weights_may_lack_the_attention(where, tmp_path):
    theirs, path = plain('mmdet.ResNet'), str(tmp_path / 'plain.pth')
    torch.save(theirs.state_dict(), path)
    init_cfg = dict(type='Pretrained', checkpoint=path)
    options = dict(
        pretrained=dict(pretrained=path),
        init_cfg=dict(init_cfg=init_cfg),
        backbone=dict(inner=dict(init_cfg=init_cfg)),
    )
    model = wrap('mmdet.ResNet', **options[where])
    model.init_weights()
    for key, value in theirs.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


class Pooling(ResNeXt):
    """A backbone that returns one map and takes something else too."""

    def forward(self, x, flip=False):
        (x,) = super().forward(x)
        return x.mean((2, 3), keepdim=True).flip(1) if flip else x


@torch.no_grad()
def test_what_the_backbone_takes_and_returns_is_kept():
    MODELS.register_module(module=Pooling, force=True)
    model = EANWrapper(
        dict(type='Pooling', depth=50, groups=4, **{**TWO_STAGES, 'out_indices': (1,)}),
        attention=SE,
    ).eval()
    expected = model(IMAGES), model(IMAGES, flip=True)
    model.switch_to_deploy()
    assert_close([model(IMAGES), model(IMAGES, flip=True)], expected, 1e-5)


# configs


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmdet', 'mmseg'])
def test_a_bare_name_is_the_default_scopes(scope):
    module = pytest.importorskip(f'{scope}.models.backbones.resnext')
    inner = ConfigDict(type='ResNeXt', depth=50, groups=4, **TWO_STAGES)
    with DefaultScope.overwrite_default_scope(scope):
        registry = __import__(f'{scope}.registry', fromlist=['MODELS']).MODELS
        model = registry.build(dict(type='EANWrapper', attention=SE, backbone=inner))
    assert isinstance(model, module.ResNeXt)


@pytest.mark.parametrize(
    'backbone, options, message',
    [
        (dict(type='mmpretrain.VGG', depth=11), {},
         "VGG is no backbone .*residual_ends=dict\\(MyBlock='conv2'\\)"),
        (dict(type='mmdet.Nothing'), {}, "'mmdet.Nothing' is not registered"),
        (dict(type='mmpretrain.ResNet', depth=7), {}, 'invalid depth 7'),
        (dict(type='EANResNet', depth=18), {}, 'takes attention and mask itself'),
        (dict(type='mmpretrain.VGG', depth=11),
         dict(residual_ends=dict(ConvModule='conv2')), 'ConvModule has no layer conv2'),
        ('mmdet.ResNet', {}, "give a dict as dict\\(type='mmdet.ResNeXt'"),
        (None, dict(depth=50), 'takes no depth; .*backbone=dict'),
        (None, dict(mask='101'), '2-2-2-2'),
        (None, dict(share='all'), "share='all' is unknown"),
        (None, dict(attention=dict(type='Nothing')), "'Nothing' is not registered"),
        (None, dict(pretrained='a', init_cfg=dict(type='Kaiming')), 'give one of'),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_mistakes_are_one_line(backbone, options, message):
    backbone = backbone or dict(type='mmpretrain.ResNet', depth=18, **SMALL)
    with pytest.raises(EANError, match=message) as caught:
        EANWrapper(backbone, **{'attention': SE, **options})
    assert '\n' not in str(caught.value)


TRIDENT = dict(
    type='mmdet.TridentResNet', depth=50, num_branch=3, test_branch_idx=1,
    trident_dilations=(1, 2, 3), num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1),
    out_indices=(2,), base_channels=8)  # fmt: skip


def test_blocks_of_several_branches_have_attention_in_each_but_no_state():
    pytest.importorskip('mmdet')
    model = EANWrapper(TRIDENT, attention=SE).train()
    calls = []
    model.attentions[2].register_forward_hook(lambda *call: calls.append(call))
    model(IMAGES)
    assert len(calls) == 6 * 3
    model = EANWrapper(TRIDENT, attention=dict(type='DIAAttention')).train()
    with pytest.raises(EANError, match='TridentBottleneck passes its norm3 several'):
        model(IMAGES)
