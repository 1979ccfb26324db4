"""Deployed networks: the same output, less work."""

import copy
import io

import pytest
import torch
from deployable import assert_same, build, deployed
from mmengine.registry import MODELS, init_default_scope
from sklearn.datasets import load_digits
from torch import nn

from ean_mm import EANResNet
from ean_mm.checkpoints import load_trained, read_checkpoint
from ean_mm.deploy import MEMORY_FORMATS, require_same_outputs
from ean_mm.launch import load_config
from ean_mm.models.attention import GateAttention
from ean_mm.zoo import zoo_entries

KINDS = ['SE', 'SGE', 'DIA', 'SPA', 'ECA', 'CBAM']


@MODELS.register_module()
class Tripling(nn.Module):
    """A user's own attention, with a norm layer that no convolution precedes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return 3 * self.conv(self.bn(x))


def test_a_deployed_network_with_other_outputs_is_refused():
    trained, images = build(18), torch.randn(1, 3, 32, 32)
    deployed = copy.deepcopy(trained)
    deployed.switch_to_deploy()
    assert require_same_outputs(trained, deployed, images, 'backbone') < 1e-5
    deployed.layer4[0].conv2.bias += 1
    with pytest.raises(ValueError, match='backbone differ'):
        require_same_outputs(trained, deployed, images, 'backbone')


@pytest.mark.parametrize('share', ['stage', 'block'])
@pytest.mark.parametrize('kind', [*KINDS, 'Tripling'])
@pytest.mark.parametrize('depth', [18, 50])
@torch.no_grad()
def test_deployed_networks_agree(depth, kind, share):
    model = build(depth, kind, share=share)
    images = torch.randn(2, 3, 64, 64)
    expected = model(images)
    for memory_format in MEMORY_FORMATS:
        network = deployed(model, memory_format=memory_format)
        assert_same(network(images), expected)


@pytest.mark.parametrize('init', ['default', 'identity'])
@torch.no_grad()
def test_a_started_cell_survives_deployment(init):
    model = build(attention=dict(type='DIAAttention', init=init))
    images = torch.randn(2, 3, 64, 64)
    assert_same(deployed(model)(images), model(images))


@torch.no_grad()
def test_deployment_of_deep_stems_dilations_and_plain_networks():
    images = torch.randn(2, 3, 64, 64)
    for options in (
        dict(deep_stem=True, avg_down=True),
        dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True),
        dict(attention=None),
        dict(norm_cfg=dict(type='GN', num_groups=4)),  # not to be folded
    ):
        model = build(**options)
        assert_same(deployed(model)(images), model(images))


def test_what_is_left_after_deployment():
    network = deployed(build(mask='100-0000-110010-000'))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    used = [m for m in network.modules() if isinstance(m, GateAttention)]
    assert len(used) == 4
    moved = network.attentions[2][0]
    assert moved.fc1.in_features == 64 and moved.channels == 256  # of conv3's input
    assert moved.fc2 is network.attentions[2][1].fc2
    # an fc1 for each block, fc2 in common: 16 -> 4 -> 64 once, 64 -> 16 -> 256 thrice
    expected = (16 * 4 + 4) + (4 * 64 + 64) + 3 * (64 * 16 + 16) + (16 * 256 + 256)
    assert network.num_attention_parameters() == expected
    assert not any(p.requires_grad for p in network.parameters())


@torch.no_grad()
def test_deploying_twice_changes_nothing():
    network = deployed(build())
    state = {key: value.clone() for key, value in network.state_dict().items()}
    network.switch_to_deploy()
    assert network.state_dict().keys() == state.keys()
    assert all(torch.equal(network.state_dict()[key], state[key]) for key in state)


@pytest.mark.parametrize('kind', KINDS)
@torch.no_grad()
def test_a_deployed_state_loads_into_a_network_built_for_it(kind):
    network = deployed(build(kind=kind, share='stage'))
    built = build(kind=kind, deploy=True)
    built.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 64, 64)
    assert_same(built(images), network(images), 0)


def test_a_deployed_network_is_neither_trained_nor_given_another_mask():
    network = deployed(build())
    with pytest.raises(ValueError, match='deployed and cannot be trained'):
        network.train()
    with pytest.raises(ValueError, match='is deployed for the mask 101-1101'):
        network.set_mask('none')
    assert network.eval() is network


@torch.no_grad()
def test_deployed_networks_can_be_copied_and_saved():
    """SGE reads the weights of the convolution before it, of the copy in a copy."""
    network = deployed(build(kind='SGE'))
    images = torch.randn(2, 3, 64, 64)
    expected, file = network(images), io.BytesIO()
    torch.save(network.state_dict(), file)
    copied = copy.deepcopy(network)
    assert_same(copied(images), expected, 0)
    for parameter in copied.parameters():
        parameter.zero_()
    assert not torch.equal(copied(images)[0], expected[0])
    file.seek(0)
    copied.load_state_dict(torch.load(file, weights_only=True))
    assert_same(copied(images), expected, 0)


@pytest.mark.parametrize('memory_format', MEMORY_FORMATS)
@pytest.mark.parametrize('options', [{}, dict(attention=None)], ids=['SE', 'plain'])
@pytest.mark.parametrize('depth', [18, 50])
@torch.no_grad()
def test_nothing_that_others_hold_is_overwritten(depth, options, memory_format):
    network = deployed(build(depth, **options), memory_format=memory_format)
    images = torch.randn(2, 3, 64, 64).to(memory_format=MEMORY_FORMATS[memory_format])
    kept = images.clone()
    outs = [out.clone() for out in network(images)]
    assert torch.equal(images, kept)
    seen = []
    for stage in network.stages:
        for block in stage:
            hook = lambda *call: seen.append((call[-1], call[-1].clone()))  # noqa: E731
            block.register_forward_hook(hook)
    hooked = network(images)
    assert len(seen) == sum(network.stage_blocks)
    assert all(torch.equal(now, then) for now, then in seen)
    assert all(torch.equal(a, b) for a, b in zip(hooked, outs, strict=True))


@torch.no_grad()
def test_a_deployed_block_without_its_attention():
    network = deployed(build(mask='all'))
    block, x = network.layer1[1], torch.randn(1, 64, 8, 8)
    assert block.gates_early
    torch.testing.assert_close(block(x), (block.residual(x) + x).relu())


def test_weights_that_are_not_deployed_do_not_load():
    with pytest.raises(ValueError, match='are not deployed and the network is'):
        build(deploy=True).load_state_dict(build().state_dict())


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(conv_cfg=dict(type='ConvWS')), 'is a ConvWS2d'),
        (dict(norm_cfg=dict(type='BN', affine=False)), 'no weights'),
    ],
)
def test_what_cannot_be_folded_is_refused(options, message):
    model = EANResNet(18, base_channels=8, stem_channels=8, **options)
    with pytest.raises(ValueError, match=message):
        model.switch_to_deploy()
    assert not model.deployed


@pytest.mark.parametrize('memory_format', MEMORY_FORMATS)
@torch.no_grad()
def test_maps_come_out_in_the_order_that_the_images_come_in(memory_format):
    """mmcv's RoIAlign would take channels-last maps for contiguous ones."""
    model, images = build(), torch.randn(2, 3, 32, 32)
    network = deployed(model, memory_format=memory_format)
    assert all(x.is_contiguous() for x in network(images))
    assert all(x.is_contiguous() for x in network(images[:, :, :, 8:]))
    images = images.contiguous(memory_format=torch.channels_last)
    assert_same(network(images), model(images))


@pytest.mark.parametrize('kind', ['SE', 'SGE', 'DIA', 'SPA', 'ECA', 'CBAM'])
@torch.no_grad()
def test_a_deployed_network_in_half_precision(kind):
    model, images = build(kind=kind), torch.randn(2, 3, 32, 32)
    network = deployed(model).bfloat16()
    assert_same([x.float() for x in network(images.bfloat16())], model(images), 0.05)


def test_an_unknown_memory_format():
    with pytest.raises(ValueError, match='use channels_last, contiguous'):
        build().switch_to_deploy('nhwc')


@pytest.mark.parametrize('entry', zoo_entries(), ids=lambda entry: entry['Name'])
@torch.no_grad()
def test_trained_networks_are_the_same_deployed(entry, root):
    config, checkpoint = (root / entry[key] for key in ('Config', 'Weights'))
    cfg = load_config(str(config), None, None)
    init_default_scope(cfg.default_scope)
    model = load_trained(MODELS.build(cfg.model), read_checkpoint(str(checkpoint)))
    images = torch.randn(8, model.backbone.conv1.in_channels, 32, 32)
    for memory_format in MEMORY_FORMATS:
        network = deployed(model.backbone, memory_format=memory_format)
        assert_same(network(images), model.backbone(images))


@pytest.mark.parametrize('kind', KINDS)
def test_bottlenecks_trained_on_digits_are_the_same_deployed(kind):
    """Running statistics and gates as training leaves them, not as they start."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images[:512], dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target[:512])
    model = build(kind=kind, num_stages=2, strides=(1, 2), dilations=(1, 1),
                  out_indices=(1,), mask='101-1101', in_channels=1)  # fmt: skip
    head = nn.Linear(model.layer2[-1].out_channels, 10)
    parameters = [*model.train().parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
    losses = []
    for _ in range(4):
        for some, target in zip(images.split(128), labels.split(128)):
            large = nn.functional.interpolate(some, scale_factor=4)
            loss = nn.functional.cross_entropy(
                head(model(large)[0].mean((2, 3))), target
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < losses[0]
    test = nn.functional.interpolate(images[:64], scale_factor=4)
    with torch.no_grad():
        expected = model.eval()(test)
        for memory_format in MEMORY_FORMATS:
            network = deployed(model, memory_format=memory_format)
            assert_same(network(test), expected, 1e-4)
