"""A backbone that runs an exported network computes what the network did."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from deployable import assert_same, build
from mmengine.registry import MODELS

from ean_mm import CompiledBackbone, EANError
from ean_mm.deploy.export import export

RUNTIMES = dict(openvino='.xml', onnxruntime='.onnx')
SMALL = dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1))


def network(kind='SE', **kwargs):
    return build(18, kind, mask='10-11', **{**SMALL, **kwargs})


def export_folded(model, file, size=32):
    folded = copy.deepcopy(model)
    folded.switch_to_deploy()
    export(folded, file, torch.randn(2, 3, size, size))
    return str(file)


@pytest.fixture(scope='module', params=RUNTIMES)
def exported(request, tmp_path_factory):
    """A network, and it in a runtime's file."""
    pytest.importorskip(request.param)
    pytest.importorskip('onnxscript')
    torch.manual_seed(0)
    model = network()
    file = tmp_path_factory.mktemp('exported') / f'net{RUNTIMES[request.param]}'
    return model, dict(file=export_folded(model, file), runtime=request.param)


@pytest.fixture
def compiled(exported):
    return CompiledBackbone(**exported[1])


IMAGES = torch.randn(2, 3, 32, 32)
SHAPES = [(2, 3, 32, 32), (1, 3, 32, 32), (3, 3, 48, 40), (1, 3, 33, 65)]


@torch.no_grad()
def test_any_batch_and_size(exported, compiled):
    model, _ = exported
    for shape in [*SHAPES, *SHAPES]:
        images = torch.randn(shape)
        assert_same(compiled(images), model(images))


@torch.no_grad()
def test_images_in_other_orders_and_types(exported, compiled):
    model, _ = exported
    for images in (
        IMAGES.contiguous(memory_format=torch.channels_last),
        IMAGES[:, :, 8:, ::2],
        IMAGES.double(),
        IMAGES.clone().requires_grad_(),
    ):
        outs = compiled(images)
        assert_same(outs, model(images.float()))
        assert all(x.dtype == torch.float32 and x.is_contiguous() for x in outs)


def test_results_are_not_overwritten_by_the_next_call(compiled):
    first = compiled(IMAGES)
    before = [x.clone() for x in first]
    compiled(IMAGES + 1)
    assert all(map(torch.equal, first, before))


FREED = """
import os, signal
import torch
from ean_mm import CompiledBackbone
signal.signal(signal.SIGUSR1, lambda *_: print('handled'))
networks = [CompiledBackbone(**{options}) for _ in range(2)]
for network in networks:
    network(torch.randn(2, 3, 32, 32))
del network
while networks:
    del networks[0]
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_signals_are_survived_when_networks_have_been_freed(exported):
    code = FREED.format(options=exported[1])
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, 'handled\n'), run.stderr


def test_it_is_a_module_without_parameters(exported, compiled):
    assert not list(compiled.parameters()) and not compiled.state_dict()
    assert not compiled.training and compiled.eval() is compiled
    assert compiled.to('cpu') is compiled
    compiled.init_weights()
    with pytest.raises(EANError, match='is compiled and cannot be trained'):
        compiled.train()
    for copied in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
        assert all(map(torch.equal, copied(IMAGES), compiled(IMAGES)))


def test_weights_for_it_are_refused(exported, compiled):
    model = torch.nn.Module()
    model.backbone = compiled
    model.load_state_dict({})
    weights = {f'backbone.{k}': v for k, v in exported[0].state_dict().items()}
    with pytest.raises(EANError, match='loads no weights'):
        model.load_state_dict(weights, strict=False)


def test_other_images_are_refused(compiled):
    with pytest.raises(EANError, match=r'shape \(any, 3, any, any\) and gets \(1, 1,'):
        compiled(torch.randn(1, 1, 32, 32))
    with pytest.raises(EANError, match='give it such images'):
        compiled(torch.randn(3, 32, 32))


def test_what_cannot_be_run_is_refused(exported, tmp_path):
    _, options = exported

    def refused(message, **changes):
        with pytest.raises(EANError, match=message):
            MODELS.build(dict(options, type='CompiledBackbone', **changes))

    damaged = tmp_path / 'damaged.onnx'
    damaged.write_bytes(b'no network')
    refused('there is no file x.xml; write it with', file='x.xml')
    refused('cannot read .*damaged.onnx', file=str(damaged))
    refused("runtime='tvm' is unknown; use openvino, onnxruntime", runtime='tvm')
    refused("precision='f16' is unknown; use f32, bf16, int8", precision='f16')
    refused('is not quantised; deploy it with --precision int8', precision='int8')


def test_a_missing_runtime_is_named_with_its_extra(exported, monkeypatch):
    _, options = exported
    monkeypatch.setitem(__import__('sys').modules, options['runtime'], None)
    with pytest.raises(EANError, match=r'pip install ean_mm\[deploy\]'):
        CompiledBackbone(**options)


def test_bf16_needs_a_processor_and_a_runtime_that_have_it(exported):
    model, options = exported
    try:
        compiled = CompiledBackbone(**options, precision='bf16')
    except EANError as error:
        assert 'has no bf16' in str(error)
        return
    assert_same(compiled(IMAGES), model(IMAGES), 0.05)


def test_bf16_goes_on_to_the_last_layers(exported):
    """OpenVINO leaves them in float32, and converts maps between them."""
    _, options = exported
    try:
        compiled = CompiledBackbone(**options, precision='bf16')
    except EANError:
        pytest.skip('no bf16')
    compiled(IMAGES)
    (network,) = compiled._network.compiled.values()
    layers = [each.get_rt_info() for each in network.get_runtime_model().get_ops()]
    sums = [each for each in layers if each['layerType'] == 'Subgraph']
    assert sums and all(each['runtimePrecision'] == 'bf16' for each in sums)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['SGE', 'DIA', 'SPA', 'ECA', 'CBAM'])
@torch.no_grad()
def test_every_attention(kind, tmp_path):
    model = network(kind)
    for runtime, suffix in RUNTIMES.items():
        pytest.importorskip(runtime)
        file = export_folded(model, tmp_path / f'net{suffix}')
        compiled = CompiledBackbone(file, runtime)
        assert_same(compiled(IMAGES), model(IMAGES))
        images = torch.randn(1, 3, 48, 40)
        if kind == 'SPA':  # its pyramid's pooling is exported for one size
            with pytest.raises(EANError, match=r'shape \(any, 3, 32, 32\)'):
                compiled(images)
        else:
            assert_same(compiled(images), model(images))


def test_files_of_other_kinds_are_not_written(tmp_path):
    with pytest.raises(EANError, match=r'must end in \.onnx or \.xml'):
        export(network(), tmp_path / 'net.pt', IMAGES)
