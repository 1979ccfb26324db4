"""EANResNet is mmpretrain's ResNet where it has no attention, and loads its weights."""

import copy

import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.models import ResNet, ResNet_CIFAR
from mmpretrain.models.backbones.resnet import BasicBlock
from networks import randomize, small
from torch import nn

from ean_mm import EANError, EANResNet, EANResNetCIFAR, Mask

SE = dict(type='SEAttention')


@pytest.mark.parametrize('depth', [18, 34, 50, 101, 152])
def test_depths_have_their_stages_and_a_mask_for_them(depth):
    model = small(depth, attention=SE)
    assert model.stage_blocks == ResNet.arch_settings[depth][1]
    assert model.mask == Mask.parse('all', model.stage_blocks)
    assert model.network == f'EANResNet-{depth}'


@pytest.mark.parametrize(
    'depth, blocks',
    [(20, (3, 3, 3)), (32, (5, 5, 5)), (44, (7, 7, 7)), (56, (9, 9, 9)),
     (110, (18, 18, 18)), (164, (18, 18, 18))],
)  # fmt: skip
def test_cifar_depths(depth, blocks):
    model = EANResNetCIFAR(depth, attention=SE)
    assert model.stage_blocks == blocks
    shortcuts = sum(stage[0].downsample is not None for stage in model.stages)
    convolutions = sum(isinstance(m, nn.Conv2d) for m in model.modules())
    assert convolutions - shortcuts + 1 == depth  # the classifier is the last layer
    features = model(torch.randn(2, 3, 32, 32))
    assert features[0].shape[2:] == (8, 8)


def test_resnet20_has_the_parameters_of_the_paper():
    model = EANResNetCIFAR(20)
    parameters = sum(p.numel() for p in model.parameters())
    # He et al.: 0.27 M, with parameter-free shortcuts; theirs here are 1x1 convolutions
    assert 0.26e6 < parameters < 0.28e6


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(deep_stem=True, avg_down=True),
        dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
        dict(style='caffe', out_indices=(0, 2)),
        dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(1,)),
    ],
    ids=repr,
)
@pytest.mark.parametrize('depth', [18, 50])
def test_without_bits_it_is_mmpretrains_resnet(depth, options):
    kwargs = dict(base_channels=8, stem_channels=8, **options)
    plain = randomize(ResNet(depth, **kwargs))
    model = EANResNet(depth, attention=SE, mask='none', **kwargs)
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert missing and all('attention' in key for key in missing)
    x = torch.randn(2, 3, 64, 48)
    for ours, theirs in zip(model.eval()(x), plain(x)):
        assert torch.equal(ours, theirs)


def test_a_plain_resnet50_checkpoint_loads():
    plain = ResNet(50)
    model = EANResNet(50, attention=SE)
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all(key.startswith('attentions.') for key in missing)
    assert set(EANResNet(50).state_dict()) == set(plain.state_dict())


@pytest.mark.parametrize('kind', ['SE', 'DIA', 'ECA', 'SPA'])
@pytest.mark.parametrize(
    'norm_cfg',
    [
        dict(type='IN', affine=True),
        dict(type='mmpretrain.LN2d'),
        dict(type='GN', num_groups=2),
    ],
    ids=lambda norm_cfg: norm_cfg['type'],
)
def test_other_norm_layers_train(norm_cfg, kind):
    """Some return views, which may not be overwritten."""
    model = small(attention=dict(type=f'{kind}Attention'), norm_cfg=norm_cfg).train()
    by_call = copy.deepcopy(model)  # as modules with hooks are
    for module in by_call.attentions:
        module.register_forward_hook(lambda *args: None)
    images = torch.randn(2, 3, 64, 64)
    for network in (model, by_call):
        sum(x.square().mean() for x in network(images)).backward()
    for (name, one), two in zip(model.named_parameters(), by_call.parameters()):
        torch.testing.assert_close(one.grad, two.grad, msg=name, rtol=1e-3, atol=1e-5)


def test_options_of_another_resnet_are_one_line():
    with pytest.raises(
        EANError, match="argument 'dcn'.*go through EANWrapper"
    ) as error:
        small(dcn=dict(type='DCNv2'))
    assert '\n' not in str(error.value)
    with pytest.raises(EANError, match='contradict each other'):
        small(num_stages=5)


def test_torchvisions_checkpoint_loads():
    torchvision = pytest.importorskip('torchvision')
    weights = torchvision.models.resnet18(weights=None).state_dict()
    model = EANResNet(18, attention=SE)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert sorted(unexpected) == ['fc.bias', 'fc.weight']
    assert all(key.startswith('attentions.') for key in missing)


def test_cifar_network_without_bits_is_mmpretrains():
    class ResNet20(ResNet_CIFAR):
        arch_settings = {20: (BasicBlock, (3, 3, 3))}

    plain = ResNet20(
        20,
        stem_channels=16,
        base_channels=16,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
    )
    plain = randomize(plain)
    model = EANResNetCIFAR(20, attention=SE, mask='none').eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(x)[0], plain(x)[0])


def test_pretrained_names_a_checkpoint_as_mmseg_passes_it(tmp_path):
    plain = randomize(small())
    path = str(tmp_path / 'plain.pth')
    torch.save(plain.state_dict(), path)
    model = small(attention=SE, pretrained=path)
    model.init_weights()
    assert torch.equal(model.layer3[1].conv2.weight, plain.layer3[1].conv2.weight)

    nn.init.constant_(model.attentions[0].fc1.weight, 0.25)
    torch.save(model.state_dict(), path)
    model = small(attention=SE, pretrained=path)
    model.init_weights()
    assert (model.attentions[0].fc1.weight == 0.25).all()
    with pytest.raises(ValueError, match='not both'):
        small(pretrained=path, init_cfg=dict(type='Pretrained', checkpoint=path))


def test_mmsegs_deep_stem_is_mapped_on_load():
    mmseg = pytest.importorskip('mmseg.models')
    theirs = randomize(mmseg.ResNetV1c(
        depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4), contract_dilation=True))  # fmt: skip
    ours = small(
        attention=SE, mask='none', deep_stem=True, strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4), contract_dilation=True).eval()  # fmt: skip
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not unexpected
    assert all('attention' in key for key in missing)
    x = torch.randn(1, 3, 64, 64)
    for a, b in zip(ours(x), theirs(x)):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('depth', [18, 50])
def test_contract_dilation_is_mmsegs(depth):
    mmseg = pytest.importorskip('mmseg.models')
    kwargs = dict(base_channels=8, stem_channels=8, strides=(1, 2, 1, 1),
                  dilations=(1, 1, 2, 4), contract_dilation=True)  # fmt: skip
    theirs = randomize(mmseg.ResNet(depth, **kwargs))
    ours = EANResNet(depth, out_indices=(0, 1, 2, 3), **kwargs).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 64, 64)
    for a, b in zip(ours(x), theirs(x)):
        torch.testing.assert_close(a, b)


def test_frozen_stages_and_norm_eval_leave_the_attention_training():
    class NormAttention(nn.Sequential):
        def __init__(self, channels):
            super().__init__(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))

    attention = dict(type=NormAttention)
    model = small(attention=attention, frozen_stages=2, norm_eval=True).train()
    assert not any(p.requires_grad for p in model.layer2.parameters())
    assert all(p.requires_grad for p in model.attentions.parameters())
    assert not model.layer3[0].norm1.training
    assert all(attention[1].training for attention in model.attentions)

    model = small(attention=attention, frozen_stages=2, norm_eval=True,
                  freeze_attention=True).train()  # fmt: skip
    trainable = [any(p.requires_grad for p in a.parameters()) for a in model.attentions]
    assert trainable == [False, False, True, True]
    assert not any(attention[1].training for attention in model.attentions)


def test_train_and_eval_return_the_model():
    model = small()
    assert model.eval() is model and not model.training
    assert model.train() is model and model.training


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(depth=19), 'depth=19 is unknown.*18, 34, 50'),
        (dict(share='all'), "share='all' is unknown"),
        (dict(attention=dict(type='Nothing')), "'Nothing' is not registered"),
        (dict(attention=SE, mask=1001), 'dashes'),
    ],
    ids=repr,
)
def test_mistakes_are_one_line(kwargs, message):
    with pytest.raises(ValueError, match=message) as caught:
        small(**kwargs)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmdet', 'mmseg'])
@pytest.mark.parametrize('name', ['EANResNet', 'SEAttention', 'EANResNetCIFAR'])
def test_bare_names_resolve_from_every_toolbox(scope, name):
    pytest.importorskip(scope)
    with DefaultScope.overwrite_default_scope(scope):
        registry = __import__(f'{scope}.registry', fromlist=['MODELS']).MODELS
        assert registry.get(name).__name__ == name
