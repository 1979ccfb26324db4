"""The fused path: the same output and gradients as the unfused blocks, less work."""

import copy

import pytest
import torch
from deployable import assert_same, build
from torch import nn

from ean_mm.deploy import MEMORY_FORMATS
from ean_mm.models.attention import GateAttention, SEAttention, build_attention
from ean_mm.models.attention.base import global_average_pool, scale
from ean_mm.models.blocks import AttentionBlock, EANBottleneck
from ean_mm.models.fused import InvertibleGatedReLU, PooledMap, gated_sum

KINDS = ['SE', 'SGE', 'DIA', 'SPA', 'ECA', 'CBAM']
FORMATS = list(MEMORY_FORMATS.values())


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('samples', [1, 2])
@pytest.mark.parametrize('groups', [1, 4, 16])
@pytest.mark.parametrize('size', [(1, 1), (5, 3)])
def test_the_fused_sum_is_scale_and_add(memory_format, groups, size, samples):
    residual, shortcut = torch.randn(2, samples, 16, 5, 3).unbind()
    residual = residual.to(memory_format=memory_format)
    shortcut = shortcut.to(memory_format=memory_format)
    gate = torch.rand(samples, groups, *size)
    expected = residual * gate.repeat_interleave(16 // groups, dim=1) + shortcut
    kept = residual.clone(memory_format=torch.preserve_format)
    torch.testing.assert_close(gated_sum(residual, gate, shortcut), expected)
    assert torch.equal(residual, kept)
    out = gated_sum(residual, gate, shortcut, inplace=True)
    torch.testing.assert_close(out, expected)
    assert out.data_ptr() == residual.data_ptr()


def test_the_gradient_of_the_inverted_form():
    residual, shortcut = torch.randn(2, 2, 3, 4, 4, dtype=torch.double).unbind()
    gate = torch.rand(2, 3, 1, 1, dtype=torch.double) + 0.01
    inputs = [x.requires_grad_() for x in (residual.clone(), gate, shortcut.clone())]

    def function(residual, gate, shortcut):
        return InvertibleGatedReLU.apply(residual * 1, gate, shortcut)

    assert torch.autograd.gradcheck(function, inputs)


def test_the_gradient_of_a_map_and_its_average():
    x = torch.randn(2, 3, 4, 5, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: PooledMap.apply(x * 1), (x,))
    assert torch.autograd.gradgradcheck(lambda x: PooledMap.apply(x * 1), (x,))


def test_second_derivatives():
    model = build(num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,),
                  mask='101').train()  # fmt: skip
    images = torch.randn(2, 3, 32, 32, requires_grad=True)
    (out,) = model(images)
    (gradient,) = torch.autograd.grad(out.sum(), images, create_graph=True)
    gradient.square().sum().backward()
    assert model.attentions[0].fc1.weight.grad.isfinite().all()


class TanhSE(SEAttention):
    """A gate that is negative somewhere, so that nothing can be inverted."""

    def gate(self, x):
        return self.fc2(self.fc1(x.amax((2, 3)))).tanh()[..., None, None]


def test_a_subclass_with_its_own_gate_keeps_no_promise_of_its_parent():
    attention = TanhSE(64)
    assert not attention.invertible
    assert attention.for_input_of(nn.Conv2d(16, 64, 1)) is None
    assert SEAttention.invertible
    block = EANBottleneck(64, 64)
    x = torch.randn(2, 64, 8, 8)
    expected = (attention(block.residual(x)) + x).relu()
    torch.testing.assert_close(block(x, attention), expected)
    block(x, attention).sum().backward()
    assert attention.fc2.weight.grad.isfinite().all()


def test_a_closed_gate_has_a_finite_gradient():
    logits = torch.tensor([-200.0, -60.0, 0.0]).view(1, 3, 1, 1).requires_grad_()
    residual = torch.randn(1, 3, 4, 4, requires_grad=True)
    out = InvertibleGatedReLU.apply(residual * 1, logits.sigmoid(), torch.ones(1))
    out.sum().backward()
    assert logits.grad.isfinite().all() and residual.grad.isfinite().all()


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('depth', [18, 50])
def test_gradients_are_those_of_the_unfused_block(
    depth, kind, memory_format, monkeypatch
):
    model = build(depth, kind).double().train()
    images = torch.randn(4, 3, 64, 64, dtype=torch.double)
    images = images.to(memory_format=memory_format)
    plain = copy.deepcopy(model)

    def run(network):
        outs = network(images)
        sum((out * out.cos()).sum() for out in outs).backward()
        return outs

    outs = run(model)
    monkeypatch.setattr(AttentionBlock, '_fuses', lambda *args: False)
    assert_same(outs, run(plain), 1e-10)
    for (name, a), b in zip(model.named_parameters(), plain.parameters()):
        if b.grad is None:
            assert a.grad is None, name
        else:
            assert (a.grad - b.grad).norm() <= 1e-8 * b.grad.norm() + 1e-12, name


@pytest.mark.parametrize('kind', ['SE', 'DIA'])
def test_checkpointing_recomputes_the_same_gradients(kind):
    plain = build(kind=kind).double().train()
    model = build(kind=kind, with_cp=True).double().train()
    model.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 64, 64, dtype=torch.double)
    for network in (plain, model):
        sum(out.cos().sum() for out in network(images)).backward()
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        if b.grad is not None:
            torch.testing.assert_close(a.grad, b.grad)


def test_training_keeps_one_map_less_a_block():
    def kept_bytes(fuse):
        block = EANBottleneck(64, 64)
        attention = build_attention(dict(type='SEAttention'), 64)
        block._fuses = lambda attention: fuse and attention is not None
        kept = {}

        def pack(tensor):
            kept[tensor.untyped_storage().data_ptr()] = tensor.nbytes
            return tensor

        x = torch.randn(2, 64, 8, 8, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = block(x * 1, attention)
        assert out.requires_grad
        return sum(kept.values())

    assert kept_bytes(True) == kept_bytes(False) - 2 * 64 * 8 * 8 * 4


def test_hooks_on_attention_are_called():
    model, calls = build(), []
    model.attentions[0].register_forward_hook(lambda *args: calls.append(1))
    with torch.no_grad():
        model(torch.randn(1, 3, 64, 64))
    assert len(calls) == 2  # two bits in the first stage


def test_an_own_forward_is_called():
    class Own(GateAttention):
        def gate(self, x):
            raise AssertionError

        def forward(self, x):
            return 2 * x

    block = EANBottleneck(16, 16).eval()
    x = torch.randn(1, 16, 4, 4)
    with torch.no_grad():
        expected = (2 * block.residual(x) + x).relu()
        torch.testing.assert_close(block(x, Own(16)), expected)


@pytest.mark.parametrize('memory_format', FORMATS)
def test_pooling_is_the_mean(memory_format):
    x = torch.randn(2, 16, 7, 5).to(memory_format=memory_format)
    torch.testing.assert_close(global_average_pool(x), x.mean((2, 3)))
    wide = global_average_pool(x.bfloat16())
    assert wide.dtype == torch.float32
    torch.testing.assert_close(wide, x.bfloat16().float().mean((2, 3)))


def test_scaling_by_groups():
    x, gate = torch.randn(2, 8, 3, 3), torch.rand(2, 4, 3, 3)
    expected = x * gate.repeat_interleave(2, dim=1)
    torch.testing.assert_close(scale(x, gate), expected)
