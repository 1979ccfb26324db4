"""The form that networks are exported in: the same outputs."""

import copy

import pytest
import torch
from deployable import assert_same, build, deployed
from mmengine.registry import MODELS

from ean_mm import CompiledBackbone
from ean_mm.deploy.export import export
from ean_mm.deploy.graph_form import in_graph_form
from ean_mm.models.attention import SGEAttention

pytestmark = pytest.mark.filterwarnings('ignore:SGEAttention')
both = pytest.mark.parametrize('planar', [False, True])
SUFFIXES = dict(openvino='.xml', onnxruntime='.onnx')


@MODELS.register_module()
class DoubledSGE(SGEAttention):
    """A user's own, whose gate is another one."""

    def gate(self, x):
        return 2 * super().gate(x)


def network(groups=8, **kwargs):
    """Bottlenecks whose stages have 8, 16, 32 and 64 channels a group or less."""
    options = dict(attention=dict(type='SGEAttention', groups=groups))
    return deployed(build(**{**options, **kwargs}))


@both
@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(groups=16),
        dict(groups=64),  # one channel a group in the first stage
        dict(groups=1),
        dict(share='block'),
        dict(mask='000-0101-000000-111'),
        dict(out_indices=(0, 2)),
        dict(deep_stem=True, avg_down=True),
        dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
        dict(stem_channels=64),  # a first block without a layer in its shortcut
        dict(attention=dict(type='DoubledSGE', groups=8)),
    ],
    ids=str,
)
@torch.no_grad()
def test_the_outputs_are_the_same(options, planar):
    model, images = network(**options), torch.randn(2, 3, 64, 48)
    before = copy.deepcopy(model.state_dict())
    expected = model(images)
    assert_same(in_graph_form(model, planar)(images), expected)
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in before)
    assert_same(model(images), expected, 0)


@both
@torch.no_grad()
def test_maps_of_one_position(planar):
    model, images = network(), torch.randn(2, 3, 32, 32)
    expected = model(images)
    assert expected[-1].shape[2:] == (1, 1)
    assert_same(in_graph_form(model, planar)(images), expected)


@both
@torch.no_grad()
def test_a_classifier_and_what_calls_the_stages_itself(planar):
    class Caller(torch.nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = backbone

        def forward(self, images):
            x = self.backbone.forward_stem(images)
            return self.backbone.layer2(self.backbone.layer1(x))

    backbone, images = network(out_indices=(3,)), torch.randn(2, 3, 64, 64)
    head = dict(type='LinearClsHead', in_channels=512, num_classes=3)
    neck = dict(type='GlobalAveragePooling')
    config = dict(type='ImageClassifier', backbone=backbone, neck=neck, head=head)
    config['_scope_'] = 'mmpretrain'
    for model in (MODELS.build(config), Caller(backbone)):
        assert_same([in_graph_form(model, planar)(images)], [model(images)])


@pytest.mark.parametrize('runtime', SUFFIXES)
@torch.no_grad()
def test_exported_for_any_batch_and_size(runtime, tmp_path):
    pytest.importorskip(runtime)
    pytest.importorskip('onnxscript')
    small = dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1))
    model = network(mask='101-1101', **small)
    file = tmp_path / f'network{SUFFIXES[runtime]}'
    export(model, file, torch.randn(2, 3, 64, 64))
    compiled = CompiledBackbone(str(file), runtime)
    for shape in [(2, 3, 64, 64), (1, 3, 64, 64), (3, 3, 96, 80)]:
        images = torch.randn(shape)
        assert_same(compiled(images), model(images))
