"""Training in bfloat16 on a CPU, for which any processor serves."""

import copy

import pytest
import torch
from deployable import build
from mmengine.config import Config
from torch.nn import functional as F

from ean_mm import EANError, launch
from ean_mm.deploy import MEMORY_FORMATS
from ean_mm.models.attention import SEAttention
from ean_mm.models.attention.base import global_average_pool
from ean_mm.models.blocks import AttentionBlock, EANBottleneck
from ean_mm.models.fused import InvertibleGatedReLU

FORMATS = list(MEMORY_FORMATS.values())


@pytest.mark.parametrize('memory_format', FORMATS)
def test_pooling_is_as_exact_as_bfloat16(memory_format):
    x = torch.rand(2, 16, 40, 40).bfloat16().to(memory_format=memory_format)
    exact = x.double().mean((2, 3))
    with torch.autocast('cpu'):
        pooled = global_average_pool(x)
    assert pooled.dtype == torch.float32
    assert ((pooled - exact) / exact).abs().max() <= 2**-8


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('kind', ['SE', 'DIA', 'SGE'])
def test_fused_gradients_are_no_further_from_those_in_float32(
    kind, memory_format, monkeypatch
):
    torch.manual_seed(0)
    model = build(18, kind).train()
    images = torch.randn(8, 3, 64, 64).to(memory_format=memory_format)

    def gradient(bfloat16):
        network = copy.deepcopy(model)
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=bfloat16):
            outs = network(images)
        sum(out.float().cos().mean() for out in outs).backward()
        found = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        return torch.cat(found)

    exact, fused = gradient(False), gradient(True)
    monkeypatch.setattr(AttentionBlock, '_fuses', lambda *args: False)
    unfused = gradient(True)
    assert fused.isfinite().all() and not torch.equal(fused, exact)
    assert F.cosine_similarity(fused, exact, 0) > 0.8
    assert (fused - exact).norm() <= 1.25 * (unfused - exact).norm()


def test_the_backward_pass_does_without_the_residual_branch(monkeypatch):
    calls = []
    forward = InvertibleGatedReLU.apply
    monkeypatch.setattr(
        InvertibleGatedReLU, 'apply', lambda *args: calls.append(args) or forward(*args)
    )
    block, x = EANBottleneck(64, 64), torch.randn(2, 64, 8, 8, requires_grad=True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = block(x, SEAttention(64))
    (call,) = calls
    assert [each.dtype for each in call] == [torch.bfloat16] + 2 * [torch.float32]
    out.float().sum().backward()
    assert x.grad.dtype == torch.float32 and x.grad.isfinite().all()


@pytest.fixture
def processor(monkeypatch):
    """Set whether the processor has bfloat16."""

    def has(bfloat16):
        monkeypatch.setattr('torch.cuda.is_available', lambda: False)
        found = dict(avx512_bf16=bfloat16)
        monkeypatch.setattr('torch.cpu.get_capabilities', lambda: found, raising=False)

    return has


def test_a_classifier_trains_with_weights_in_float32(
    processor, tool, digits_config, tmp_path
):
    processor(True)
    digits_config.dump(tmp_path / 'net.py')
    assert tool('train.py', 'net.py', '--work-dir', 'work', '--amp')[0] == 0
    trained = Config.fromfile(tmp_path / 'work/net.py')
    assert trained.optim_wrapper.type == 'CPUAmpOptimWrapper'
    checkpoint = torch.load(next((tmp_path / 'work').glob('*.pth')), weights_only=True)
    floating = [x for x in checkpoint['state_dict'].values() if x.is_floating_point()]
    assert floating and all(x.dtype == torch.float32 for x in floating)
    assert all(x.isfinite().all() for x in floating)


def test_mixed_precision_needs_a_processor_that_has_it(processor):
    cfg = Config(dict(optim_wrapper=dict(type='AmpOptimWrapper', loss_scale=512.0)))
    processor(False)
    with pytest.raises(EANError, match='a processor with AVX512_BF16 or AMX'):
        launch.enable_amp(cfg)
    processor(True)
    launch.enable_amp(cfg)
    assert cfg.optim_wrapper == dict(type='CPUAmpOptimWrapper')
