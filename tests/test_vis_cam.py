"""Grad-CAM side by side: the heat maps against plain torch, the picture, mistakes."""

import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from matplotlib.colors import same_color
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from torch.nn import functional as F

from cam_plot import Attended, draw_cams
from ean_mm import zoo
from ean_mm.models.attention import attend
from ean_mm.models.blocks import AttentionBlock
from ean_mm.visualization.style import INK, PLUGGED

pytest.importorskip('pytorch_grad_cam')

TOOL = 'visualization/vis_cam.py'
BCCD = Path(__file__).parents[1] / 'configs/ean_det/retinanet_r18_fpn_bccd.py'
NETWORKS = ['resnet20_digits', 'resnet20_se_digits']


@pytest.fixture(scope='module')
def vis_cam():
    path = Path(__file__).parents[1] / 'tools' / TOOL
    return runpy.run_path(str(path))


def build(attention, mask='011-110-101'):
    """A classifier whose norm layers and attention are as if they were trained."""
    init_default_scope('mmpretrain')
    model = MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(
                type='EANResNetCIFAR', depth=20, base_channels=8, stem_channels=8,
                attention=attention and dict(type=attention), mask=mask),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=10, in_channels=32),
        )
    )  # fmt: skip
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    for parameter in model.backbone.attentions.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def expected(model, name, inputs, monkeypatch):
    """Grad-CAM by its formula, in float64 and with nothing overwritten."""

    def merge(block, residual, shortcut, attention=None, state=None, **_):
        if attention is not None:
            residual, state = attend(attention, residual, state)
        return torch.relu(residual + shortcut), state

    recorded = []
    with monkeypatch.context() as patch:
        patch.setattr(AttentionBlock, 'merge', merge)
        model = model.double()
        for module in model.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
        layer = dict(model.named_modules())[name]
        handle = layer.register_forward_hook(lambda *call: recorded.append(call[2]))
        logits = model(inputs.double())
        handle.remove()
    (maps,) = recorded
    (gradient,) = torch.autograd.grad(logits.max(1).values.sum(), maps)
    heat = (gradient.mean((2, 3), keepdim=True) * maps).sum(1).relu()
    heat = F.interpolate(heat[:, None], inputs.shape[2:], mode='bilinear')[:, 0]
    heat = heat - heat.amin((1, 2), True)
    largest = heat.amax((1, 2), True).clamp(min=1e-7)  # there may be nothing positive
    return (heat / largest).detach(), logits.detach()


@pytest.mark.parametrize('attention', [None, 'SEAttention', 'DIAAttention'])
@pytest.mark.parametrize(
    'layer', ['backbone.layer1', 'backbone.layer3', 'backbone.layer2.1.bn2']
)
def test_heat_maps_are_those_of_a_network_that_overwrites_nothing(
    vis_cam, attention, layer, monkeypatch
):
    model = build(attention)
    inputs = torch.randn(3, 3, 16, 16)
    layers = dict(model.named_modules())
    heat, logits = vis_cam['grad_cam'](model, layers[layer], inputs)
    assert heat.shape == (3, 16, 16)
    theirs, their_logits = expected(model, layer, inputs, monkeypatch)
    torch.testing.assert_close(logits.double(), their_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        torch.from_numpy(heat).double(), theirs, atol=1e-3, rtol=0
    )


def test_hooks_are_gone_afterwards(vis_cam):
    model = build('SEAttention')
    for layer in (model.backbone.layer3, model.backbone.attentions[0]):
        try:
            vis_cam['grad_cam'](model, layer, torch.randn(1, 3, 16, 16))
        except ValueError:
            pass
    assert not any(module._forward_hooks for module in model.modules())


def test_a_picture_of_test_images(tool, tmp_path):
    status, _ = tool(TOOL, 'cam.png', *NETWORKS, '--num', '2')
    assert status == 0
    height, width, _ = cv2.imread('cam.png').shape
    assert width > 3 * 100 and height > 2 * 100


def test_an_image_of_each_class_comes_first(vis_cam):
    network = vis_cam['Classifier'](*zoo.find_network('resnet20_digits'), None)
    batches = network.read_test_set(12)
    assert [network.label(batch) for batch in batches] == [*'0123456789', '0', '1']
    assert network.image(batches[0]).shape == (8, 8, 3)
    assert (network.image(batches[10]) != network.image(batches[0])).any()


def test_networks_are_named_by_their_attention(vis_cam):
    names = ['resnet20_digits', 'resnet20_se_everywhere_digits', 'resnet20_se_digits']
    networks = vis_cam['read_networks'](names, None)
    assert [network.title for network in networks] == [
        'no attention', 'SE in every block', 'SE at 011-010-000']  # fmt: skip


def test_a_file_gives_what_the_test_image_in_it_gives(vis_cam, tmp_path):
    network = vis_cam['Classifier'](*zoo.find_network('resnet20_se_digits'), None)
    (batch,) = network.read_test_set(1)
    path = str(tmp_path / 'image.png')
    cv2.imwrite(path, network.image(batch))
    (read,) = network.read_files([path])
    assert network.label(read) is None
    ours, theirs = network.look(read), network.look(batch)
    np.testing.assert_allclose(ours.heat, theirs.heat)
    assert ours.predicted == theirs.predicted
    assert ours.probability == pytest.approx(theirs.probability)


def test_images_are_drawn_in_rgb(vis_cam):
    network = vis_cam['Classifier'](*zoo.find_network('resnet20_digits'), None)
    batch = dict(inputs=torch.arange(3).view(1, 3, 1, 1).expand(1, 3, 4, 4))
    network.model.data_preprocessor.to_rgb = True  # they are BGR
    assert network.image(batch)[0, 0].tolist() == [2, 1, 0]
    network.model.data_preprocessor.to_rgb = False
    assert network.image(batch)[0, 0].tolist() == [0, 1, 2]


def test_captions_tell_right_from_wrong():
    image, heat = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4))
    cams = [Attended(heat, 'cat', 0.911), Attended(heat, 'dog', 0.5)]
    figure = draw_cams(
        [image, image], ['cat', None], [('SE', cams), ('SE', cams[::-1])]
    )
    axes = np.reshape(figure.axes, (2, 3))
    captions = [[ax.get_xlabel() for ax in row] for row in axes]
    assert captions == [
        ['cat', 'cat, 91 %', 'dog, 50 %'], ['', 'dog, 50 %', 'cat, 91 %']]  # fmt: skip
    assert [ax.get_title() for ax in axes[0]] == ['image', 'SE', 'SE']
    colours = [[ax.xaxis.label.get_color() for ax in row[1:]] for row in axes]
    wrong = [[same_color(each, PLUGGED) for each in row] for row in colours]
    assert wrong == [[False, True], [False, False]]
    assert same_color(colours[1][0], INK)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['resnet21', '--num', '1'], "no 'resnet21' in the model zoo"),
        (['a.py', '--num', '1'], 'name the checkpoint of a.py behind it'),
        (['a.py', 'a.pth', '--num', '1'], 'there is no config file a.py'),
        ([NETWORKS[0], '--num', '0'], '--num 0'),
        ([NETWORKS[0], '--images', 'none.png'], 'none.png'),
        ([NETWORKS[0], '--num', '1', '--target-layer', 'layer9'],
         "no layer 'layer9' in the model; one is 'backbone.layer3'"),
        ([NETWORKS[0], '--num', '1', '--target-layer', 'head.fc'],
         'a Linear, gives 1 results and not one map'),
        ([NETWORKS[1], '--num', '1', '--target-layer', 'backbone.attentions.0'],
         'a SEAttention, gives 2 results'),
        ([NETWORKS[1], '--num', '1', '--target-layer', 'backbone.attentions.2'],
         'a SEAttention, gives 0 results'),
        ([str(BCCD), 'a.pth', '--num', '1'], 'is of a RetinaNet, no classifier'),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_mistakes_end_in_one_line(tool, arguments, message):
    status, _ = tool(TOOL, 'cam.png', *arguments)
    assert isinstance(status, str) and status.startswith('error: ')
    assert message in status and '\n' not in status
    assert not Path('cam.png').exists()
