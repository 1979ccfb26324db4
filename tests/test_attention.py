"""The attention modules against the papers' formulas, written out independently."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ean_mm.models.attention import (
    CBAMAttention,
    DIAAttention,
    ECAAttention,
    SEAttention,
    SGEAttention,
    SPAAttention,
    attend,
    build_attention,
)

MODULES = [
    SEAttention,
    SGEAttention,
    DIAAttention,
    SPAAttention,
    ECAAttention,
    CBAMAttention,
]


def randomized(module):
    """Give every parameter a random value, the ones that start at zero too."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def se(x, m):
    pooled = x.flatten(2).mean(2)
    hidden = torch.relu(pooled @ m.fc1.weight.T + m.fc1.bias)
    return x * torch.sigmoid(hidden @ m.fc2.weight.T + m.fc2.bias)[:, :, None, None]


def sge(x, m):
    out = torch.empty_like(x)
    size = x.shape[1] // m.groups
    for sample in range(len(x)):
        for group in range(m.groups):
            part = x[sample, group * size : (group + 1) * size]
            similarity = sum(channel * channel.mean() for channel in part)
            centred = similarity - similarity.mean()
            t = centred / (similarity.std(unbiased=True) + 1e-5)
            t = t * m.weight[0, group, 0, 0] + m.bias[0, group, 0, 0]
            out[sample, group * size : (group + 1) * size] = part * torch.sigmoid(t)
    return out


def spa(x, m):
    n, c, h, w = x.shape
    parts = []
    for size in (1, 2, 4):
        for channel in range(c):
            for i in range(size):
                for j in range(size):
                    top, bottom = i * h // size, -(-(i + 1) * h // size)
                    left, right = j * w // size, -(-(j + 1) * w // size)
                    parts.append(x[:, channel, top:bottom, left:right].mean((1, 2)))
    pyramid = torch.stack(parts, 1)
    hidden = torch.relu(F.linear(pyramid, m.fc1.weight, m.fc1.bias))
    return (
        x * torch.sigmoid(F.linear(hidden, m.fc2.weight, m.fc2.bias))[..., None, None]
    )


def eca(x, m):
    pooled = x.mean((2, 3))
    kernel = m.conv.weight.flatten()
    half = len(kernel) // 2
    padded = F.pad(pooled, (half, half))
    logits = sum(k * padded[:, i : i + x.shape[1]] for i, k in enumerate(kernel))
    return x * torch.sigmoid(logits)[..., None, None]


def cbam(x, m):
    def mlp(v):
        return F.linear(
            torch.relu(F.linear(v, m.fc1.weight, m.fc1.bias)), m.fc2.weight, m.fc2.bias
        )

    y = (
        x
        * torch.sigmoid(mlp(x.mean((2, 3))) + mlp(x.flatten(2).max(2).values))[
            ..., None, None
        ]
    )
    maps = torch.stack([y.mean(1), y.max(1).values], 1)
    return y * torch.sigmoid(F.conv2d(maps, m.conv.weight, m.conv.bias, padding=3))


@pytest.mark.parametrize(
    'cls, reference',
    [(SEAttention, se), (SGEAttention, sge), (SPAAttention, spa), (ECAAttention, eca),
     (CBAMAttention, cbam)],
)  # fmt: skip
@pytest.mark.parametrize('shape', [(2, 64, 7, 5), (3, 128, 4, 4)])
def test_module_is_the_formula(cls, reference, shape):
    x = torch.randn(shape, dtype=torch.float64)
    module = randomized(cls(shape[1])).double()
    torch.testing.assert_close(module(x), reference(x, module), rtol=0, atol=1e-6)
    x, module = x.float(), module.float()
    torch.testing.assert_close(module(x), reference(x, module), rtol=1e-5, atol=1e-6)


def test_dia_is_the_formula_over_several_blocks():
    module = randomized(DIAAttention(40, ratio=4)).double()
    (a1, b1), (a2, b2) = (
        ((bottleneck[0].weight, bottleneck[0].bias),
         (bottleneck[2].weight, bottleneck[2].bias))
        for bottleneck in (module.w_ih, module.w_hh)
    )  # fmt: skip
    assert a1[0].shape == (10, 40) and b1[0].shape == (160, 10)
    h = c = torch.zeros(3, 40, dtype=torch.float64)
    state = None
    for _ in range(4):
        x = torch.randn(3, 40, 5, 6, dtype=torch.float64)
        v = x.mean((2, 3))
        gates = torch.relu(v @ a1[0].T + a1[1]) @ b1[0].T + b1[1]
        gates = gates + torch.relu(h @ a2[0].T + a2[1]) @ b2[0].T + b2[1]
        i, f, g, o = gates[:, :40], gates[:, 40:80], gates[:, 80:120], gates[:, 120:]
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.sigmoid(c)
        y, state = module(x, state)
        torch.testing.assert_close(y, x * h[..., None, None], rtol=0, atol=1e-6)


@pytest.mark.parametrize('cls', MODULES)
def test_gate_times_input_is_the_output(cls):
    module = randomized(cls(64))
    x = torch.randn(2, 64, 6, 6)
    gate = module.gate(x)
    gate = gate[0] if module.stateful else gate
    torch.testing.assert_close(x * gate, attend(module, x)[0])


@pytest.mark.parametrize('cls', MODULES)
def test_identity_init_leaves_the_features_almost_as_they_are(cls):
    x = torch.rand(2, 64, 8, 8)
    state = None
    for _ in range(6):
        y, state = attend(cls(64, init='identity'), x, None)
        assert ((y - x).norm() / x.norm()) < 0.02
    module = cls(64, init='identity')
    for _ in range(6):  # a stateful one stays open along the stage
        y, state = attend(module, x, state)
        assert ((y - x).norm() / x.norm()) < 0.05


@pytest.mark.parametrize(
    'cls, low, high',
    [(SEAttention, 0.4, 0.6), (SPAAttention, 0.4, 0.6), (ECAAttention, 0.35, 0.65),
     (SGEAttention, 0.73, 0.74)],
)  # fmt: skip
def test_default_init_starts_where_the_papers_do(cls, low, high):
    assert low < cls(256).gate(torch.randn(4, 256, 8, 8)).mean() < high


@pytest.mark.parametrize('cls', MODULES)
@pytest.mark.parametrize('channels', [4, 16, 32])
def test_small_networks(cls, channels):
    module = cls(channels)
    for size in (1, 2, 8):
        y, _ = attend(module, torch.randn(2, channels, size, size))
        assert y.isfinite().all()


def test_sge_on_a_single_position_is_the_sigmoid_of_its_bias():
    module = SGEAttention(64)
    x = torch.randn(2, 64, 1, 1)
    torch.testing.assert_close(module(x), x * torch.sigmoid(torch.tensor(1.0)))


def test_sge_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match='64 groups do not divide 96 channels'):
        SGEAttention(96)


def test_sge_warns_of_groups_of_one_channel_and_of_nothing_else():
    with pytest.warns(UserWarning, match='each of 64 channels .* set groups=16 or'):
        SGEAttention(64)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        SGEAttention(64, groups=16)
        SGEAttention(256)


def test_only_groups_of_one_channel_have_large_gradients():
    def largest_gradient(groups):
        torch.manual_seed(0)
        module = SGEAttention(64, groups=groups)
        torch.nn.init.ones_(module.weight)
        x = torch.randn(1000, 64, 8, 8).requires_grad_()
        module(x).backward(torch.randn(x.shape))
        norms = x.grad.flatten(2).norm(dim=2)
        return (norms.max() / norms.median()).item()

    assert largest_gradient(64) > 100
    assert largest_gradient(16) < 10


@pytest.mark.parametrize(
    'cls', [SEAttention, SGEAttention, DIAAttention, SPAAttention, ECAAttention]
)
def test_statistics_are_taken_in_float32_under_autocast(cls):
    """The map's sums leave float16: in half precision the gate would not be finite."""
    module = randomized(cls(64))
    x = 40 * torch.rand(1, 64, 64, 64).half()
    exact = attend(module, x.float())[0]
    with torch.autocast('cpu', dtype=torch.float16):
        seen = []
        with Sums(seen):
            y, _ = attend(module, x)
    assert y.dtype == torch.float16
    assert set(seen) == {torch.float32}
    assert (y.float() - exact).norm() / exact.norm() < 0.02


class Sums(TorchDispatchMode):
    """Notes the type in which every mean and pooling is taken."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if 'mean' in func.__name__ or 'pool' in func.__name__:
            self.seen.append(out.dtype)
        return out


@pytest.mark.parametrize('cls', MODULES)
def test_half_precision_modules_run(cls):
    y, _ = attend(cls(64).bfloat16(), torch.randn(2, 64, 8, 8).bfloat16())
    assert y.dtype == torch.bfloat16 and y.isfinite().all()


@pytest.mark.parametrize('cls', MODULES)
def test_gradients_are_exact(cls):
    module = randomized(cls(8, **({'ratio': 2} if cls is SEAttention else {}))).double()
    x = torch.randn(2, 8, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: attend(module, x)[0], (x,))


def test_sge_can_be_differentiated_twice():
    module = randomized(SGEAttention(8, groups=4)).double()
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(module, (x,))


@pytest.mark.parametrize('cls', MODULES)
@pytest.mark.parametrize('shape', [(2, 64, 1, 1), (2, 64, 4, 4)])
def test_constant_maps_have_finite_gradients(cls, shape):
    """As the residual branch under zero_init_residual: deviations over space are 0."""
    module = cls(64)
    x = torch.full(shape, 3.0, requires_grad=True)
    attend(module, x)[0].sum().backward()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in (x.grad, *gradients))


def test_unknown_attention_names_the_known_ones():
    with pytest.raises(
        ValueError, match="'NoAttention' is not registered.*SEAttention"
    ):
        build_attention(dict(type='NoAttention'), 64)


@pytest.mark.parametrize('cfg', ['SEAttention', {}, 3])
def test_attention_that_is_no_config(cfg):
    with pytest.raises(ValueError, match='is no config'):
        build_attention(cfg, 64)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="'SEAttention' cannot be built.*rate"):
        build_attention(dict(type='SEAttention', rate=3), 64)
    with pytest.raises(ValueError, match='ratio=0'):
        SEAttention(64, ratio=0)
    with pytest.raises(ValueError, match="init='zero'"):
        SEAttention(64, init='zero')
