"""Compilers and exporters: the same numbers, for any batch and image size."""

import pytest
import torch
from torch.export import Dim

from ean_mm import EANResNet

KINDS = ['SE', 'SGE', 'DIA', 'SPA', 'ECA', 'CBAM']
FIXED_SIZE = ('SPA',)  # its pyramid's adaptive pooling is exported for one size
OPSET = 18


def build(kind, deploy):
    """Two stages of bottlenecks, with attention that runs on from block to block."""
    model = EANResNet(
        50, num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1),
        base_channels=16, stem_channels=16, mask='101-1101',
        attention=dict(type=f'{kind}Attention'))  # fmt: skip
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    model.eval().requires_grad_(False)
    if deploy:
        model.switch_to_deploy()
    return model


def other_images(kind):
    """A batch and a size that nothing was exported for."""
    return torch.randn(3, 3, *((64, 64) if kind in FIXED_SIZE else (96, 80)))


def free(kind):
    sizes = {} if kind in FIXED_SIZE else {2: Dim.AUTO, 3: Dim.AUTO}
    return ({0: Dim.AUTO, **sizes},)


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() <= 1e-4 * b.norm()


EXAMPLE = torch.randn(2, 3, 64, 64)
both = pytest.mark.parametrize('deploy', [True, False], ids=['deployed', 'trained'])
quick_and_slow = pytest.mark.parametrize(
    'deploy',
    [True, pytest.param(False, marks=pytest.mark.slow)],
    ids=['deployed', 'trained'],
)
each = pytest.mark.parametrize('kind', KINDS)


@both
@each
def test_torchscript_trace(kind, deploy):
    model, images = build(kind, deploy), other_images(kind)
    traced = torch.jit.trace(model, EXAMPLE)
    assert_same(traced(images), model(images))


@quick_and_slow
@each
def test_torch_export(kind, deploy):
    model, images = build(kind, deploy), other_images(kind)
    program = torch.export.export(model, (EXAMPLE,), dynamic_shapes=free(kind))
    assert_same(program.module()(images), model(images))


def export_onnx(kind, deploy, path):
    onnxruntime = pytest.importorskip('onnxruntime')
    model, images = build(kind, deploy), other_images(kind)
    torch.onnx.export(
        model, (EXAMPLE,), path, dynamo=True, opset_version=OPSET, verbose=False,
        dynamic_shapes=free(kind))  # fmt: skip
    session = onnxruntime.InferenceSession(path)
    feed = {session.get_inputs()[0].name: images.numpy()}
    assert_same(map(torch.from_numpy, session.run(None, feed)), model(images))


def test_onnx(tmp_path):
    export_onnx('SE', True, tmp_path / 'model.onnx')


@pytest.mark.slow
@both
@each
def test_onnx_of_every_attention(kind, deploy, tmp_path):
    export_onnx(kind, deploy, tmp_path / 'model.onnx')


@quick_and_slow
@each
def test_one_graph_for_the_compiler(kind, deploy):
    model, images = build(kind, deploy), other_images(kind)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend='aot_eager', fullgraph=True, dynamic=True)
    assert_same(compiled(EXAMPLE), model(EXAMPLE))
    assert_same(compiled(images), model(images))


@pytest.mark.parametrize('kind', ['SE', 'DIA'])
def test_one_graph_for_the_compiler_in_training(kind):
    model = build(kind, False).requires_grad_(True).train()
    torch._dynamo.reset()
    compiled = torch.compile(model, backend='aot_eager', fullgraph=True)
    sum(out.sum() for out in compiled(EXAMPLE)).backward()
    assert all(p.grad is not None for p in model.attentions.parameters())


@pytest.mark.slow
@both
@each
def test_inductor(kind, deploy):
    model, images = build(kind, deploy), other_images(kind)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, dynamic=True)
    assert_same(compiled(EXAMPLE), model(EXAMPLE))
    assert_same(compiled(images), model(images))


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['SE', 'SGE', 'DIA'])
@torch.no_grad()
def test_compiled_by_openvino(kind, monkeypatch):
    pytest.importorskip('openvino')
    from openvino.frontend.pytorch.torchdynamo import backend

    # what the backend falls back to, without a word
    monkeypatch.setattr(backend, 'compile_fx', None)
    model, images = build(kind, True), other_images(kind)
    torch._dynamo.reset()
    options = dict(aot_autograd=True, config=dict(INFERENCE_PRECISION_HINT='f32'))
    compiled = torch.compile(model, backend='openvino', dynamic=False, options=options)
    assert_same(compiled(EXAMPLE), model(EXAMPLE))
    assert_same(compiled(images), model(images))


@both
@each
def test_autocast(kind, deploy):
    model = build(kind, deploy)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        outs = model(EXAMPLE)
    for out, exact in zip(outs, model(EXAMPLE), strict=True):
        assert out.isfinite().all()
        assert (out - exact).norm() <= 0.05 * exact.norm()
