"""Convolutions with packed weights: the same numbers, and nothing stale or spoilt."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ean_mm import EANResNet
from ean_mm.models import packed_conv
from ean_mm.models.masked_backbone import MEMORY_FORMATS
from ean_mm.models.packed_conv import KEPT_SHAPES, PackedConv2d

needs_operators = pytest.mark.skipif(
    not packed_conv.has_operators(), reason='this PyTorch lacks the operators of oneDNN'
)


def channels_last(*shape):
    return torch.randn(*shape).contiguous(memory_format=torch.channels_last)


def packed(*args, relu=False, **kwargs):
    conv = nn.Conv2d(*args, **kwargs).requires_grad_(False).eval()
    return conv, PackedConv2d(conv, relu)


@pytest.mark.parametrize('relu', [False, True])
@pytest.mark.parametrize('memory_format', MEMORY_FORMATS.values(), ids=MEMORY_FORMATS)
@pytest.mark.parametrize(
    'options',
    [
        dict(kernel_size=1),
        dict(kernel_size=3, stride=2, padding=1, bias=False),
        dict(kernel_size=3, padding=2, dilation=2, groups=4),
        dict(kernel_size=3, padding='same'),
        dict(kernel_size=3, padding=1, padding_mode='reflect'),
    ],
)
def test_it_is_the_convolution(options, memory_format, relu):
    conv, layer = packed(8, 16, relu=relu, **options)
    for shape in ((2, 8, 9, 7), (1, 8, 12, 12), (0, 8, 9, 9)):
        x = torch.randn(shape).to(memory_format=memory_format)
        expected = conv(x).relu() if relu else conv(x)
        torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_inputs_of_another_kind():
    conv, layer = packed(8, 16, 1, relu=True)
    x = torch.randn(8, 5, 5)  # without a batch
    torch.testing.assert_close(layer(x), conv(x).relu())
    with pytest.raises(RuntimeError, match='to have 8 channels, but got 3 channels'):
        layer(torch.randn(1, 3, 5, 5))


@needs_operators
def test_weights_are_packed_for_the_latest_shapes():
    _, layer = packed(8, 16, 1)
    for size in (4, 5, 6, 5):
        layer(torch.randn(1, 8, size, size))
    assert [shape[2] for shape in layer._packed] == [5, 6]
    assert len(layer._packed) == KEPT_SHAPES


def test_new_weights_are_used_at_once():
    conv, layer = packed(8, 16, 1)
    x = torch.randn(1, 8, 4, 4)
    layer(x)
    layer.load_state_dict({key: 2 * v for key, v in conv.state_dict().items()})
    torch.testing.assert_close(layer(x), conv(x))  # the parameters are in common
    torch.testing.assert_close(layer.double()(x.double()), conv(x.double()))


@torch.no_grad()
def test_networks_that_have_run_can_be_copied_and_saved():
    model = EANResNet(50, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,),
                      base_channels=16, attention=dict(type='SGEAttention'),
                      mask='101').eval()  # fmt: skip
    model.switch_to_deploy()
    images = torch.randn(1, 3, 32, 32)
    (expected,) = model(images)
    assert torch.equal(copy.deepcopy(model)(images)[0], expected)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    copied = copy.deepcopy(model)
    for parameter in copied.parameters():
        parameter.zero_()
    assert not torch.equal(copied(images)[0], expected)
    copied.load_state_dict(torch.load(file))
    assert torch.equal(copied(images)[0], expected)


def test_gradients_and_autocast_go_another_way():
    conv, layer = packed(8, 16, 3)
    layer(torch.randn(1, 8, 6, 6))
    x = torch.randn(1, 8, 6, 6, requires_grad=True)
    (ours,) = torch.autograd.grad(layer(x).square().sum(), x)
    (theirs,) = torch.autograd.grad(conv(x).square().sum(), x)
    torch.testing.assert_close(ours, theirs)
    layer.requires_grad_(True)
    assert layer(x.detach()).requires_grad
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


@needs_operators
@pytest.mark.parametrize('groups, spatial', [(32, False), (4, True)])
@pytest.mark.parametrize(
    'samples, maps', [(3, 10), (3, 2), (5, 1), (2, 0.3), (2, 0.01)]
)
def test_gated_addition_in_parts(samples, maps, groups, spatial, monkeypatch):
    """However many maps of a sample fit into a part."""
    monkeypatch.setattr(packed_conv, 'PART_BYTES', int(maps * 32 * 7 * 5 * 4))
    conv, layer = packed(8, 32, 1)
    x, shortcut = channels_last(samples, 8, 7, 5), channels_last(samples, 32, 7, 5)
    gate = torch.rand(samples, groups, *((7, 5) if spatial else (1, 1)))
    full = gate.repeat_interleave(32 // groups, dim=1)
    expected = F.relu(conv(x) * full + shortcut)
    out = layer.gated_add_relu(x, gate, shortcut)
    assert out is shortcut or out.data_ptr() == shortcut.data_ptr()
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


def deployed(depth, **options):
    model = EANResNet(depth, base_channels=16, stem_channels=16, mask='all', **options)
    model.eval().switch_to_deploy()
    return model


@pytest.mark.parametrize('attention', [None, dict(type='SEAttention')])
@pytest.mark.parametrize('depth', [18, 50])
@torch.no_grad()
def test_nothing_that_others_hold_is_overwritten(depth, attention):
    model = deployed(depth, attention=attention, out_indices=(0, 1, 2, 3))
    images = channels_last(2, 3, 64, 64)
    kept = images.clone()
    outs = [out.clone() for out in model(images)]
    assert torch.equal(images, kept)

    seen = []
    for stage in model.stages:
        for block in stage:
            hook = lambda *call: seen.append((call[-1], call[-1].clone()))  # noqa: E731
            block.register_forward_hook(hook)
    hooked = model(images)
    assert len(seen) == sum(model.stage_blocks)
    assert all(torch.equal(now, then) for now, then in seen)
    assert all(torch.equal(a, b) for a, b in zip(hooked, outs, strict=True))

    for module, width in ((model.layer1, 16), (model.layer1[1], outs[0].shape[1])):
        x = channels_last(2, width, 8, 8)
        kept = x.clone()
        module(x)
        assert torch.equal(x, kept)


@torch.no_grad()
def test_a_network_without_the_operators(monkeypatch):
    model = deployed(50, attention=dict(type='SEAttention'))
    images = torch.randn(2, 3, 64, 64)
    (expected,) = copy.deepcopy(model)(images)
    monkeypatch.setattr(packed_conv, 'has_operators', lambda: False)
    (out,) = model(images)
    assert (out - expected).norm() <= 1e-5 * expected.norm()
    assert not any(m._packed for m in model.modules() if isinstance(m, PackedConv2d))
