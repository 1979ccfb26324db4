"""The fused path and deployed networks: the same output, less work."""

import copy

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from sklearn.datasets import load_digits
from torch import nn

from ean_mm import EANResNet
from ean_mm.checkpoints import load_trained, read_checkpoint
from ean_mm.launch import load_config
from ean_mm.models.attention import GateAttention, SEAttention, build_attention
from ean_mm.models.attention.base import global_average_pool, scale
from ean_mm.models.blocks import AttentionBlock, EANBottleneck
from ean_mm.models.deployment import require_same_outputs
from ean_mm.models.fused import InvertibleGatedReLU, PooledMap, gated_sum
from ean_mm.models.masked_backbone import MEMORY_FORMATS
from ean_mm.zoo import zoo_entries

KINDS = ['SE', 'SGE', 'DIA', 'SPA', 'ECA', 'CBAM']
MASKS = {18: '10-11-01-10', 50: '101-1101-110010-011'}
FORMATS = list(MEMORY_FORMATS.values())


@MODELS.register_module()
class Tripling(nn.Module):
    """A user's own attention, with a norm layer that no convolution precedes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return 3 * self.conv(self.bn(x))


def build(depth=50, kind='SE', **kwargs):
    options = dict(
        base_channels=16,
        stem_channels=16,
        mask=MASKS[depth],
        attention=dict(type=kind if kind == 'Tripling' else f'{kind}Attention'),
        out_indices=(0, 1, 2, 3),
    )
    model = EANResNet(depth, **{**options, **kwargs})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    for parameter in model.attentions.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def assert_same(ours, theirs, tolerance=1e-5):
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() <= tolerance * b.norm()


@torch.no_grad()
def deployed(model, **kwargs):
    copied = copy.deepcopy(model)
    copied.switch_to_deploy(**kwargs)
    return copied


# the fused sum


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
    for target in (shortcut.clone(memory_format=torch.preserve_format), residual):
        addend = shortcut if target is residual else target
        out = gated_sum(residual, gate, addend, target)
        torch.testing.assert_close(out, expected)
        assert out.data_ptr() == target.data_ptr()


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


def test_a_deployed_network_with_other_outputs_is_refused():
    trained, images = build(18), torch.randn(1, 3, 32, 32)
    deployed = copy.deepcopy(trained)
    deployed.switch_to_deploy()
    assert require_same_outputs(trained, deployed, images, 'backbone') < 1e-5
    deployed.layer4[0].conv2.bias += 1
    with pytest.raises(ValueError, match='backbone differ'):
        require_same_outputs(trained, deployed, images, 'backbone')


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


# deployment


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


def test_scaling_by_groups():
    x, gate = torch.randn(2, 8, 3, 3), torch.rand(2, 4, 3, 3)
    expected = x * gate.repeat_interleave(2, dim=1)
    torch.testing.assert_close(scale(x, gate), expected)


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
