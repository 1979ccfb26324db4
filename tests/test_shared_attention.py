"""Attention in EANResNet: where it is plugged in, and which blocks share it."""

import copy
import pickle

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from networks import randomize, small
from torch import nn

from ean_mm import Mask
from ean_mm.models.attention import GateAttention

SE = dict(type='SEAttention')
ALL = ['SEAttention', 'SGEAttention', 'DIAAttention', 'SPAAttention', 'ECAAttention',
       'CBAMAttention']  # fmt: skip
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@MODELS.register_module()
class Doubling(nn.Module):
    """A user's own attention: no base class, its channels named otherwise."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((in_channels, 1, 1), 2.0))

    def forward(self, x):
        return x * self.scale


@MODELS.register_module()
class Halving(nn.Module):
    """A user's mistake: the map gets smaller."""

    def forward(self, x):
        return x[..., ::2, ::2]


class NormAttention(nn.BatchNorm2d):
    """A user's attention that is a norm layer, which a synchronised one replaces."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)


def unpickle(model):
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize('depth', [18, 50])
def test_a_bit_plugs_attention_between_last_norm_and_addition(depth):
    """One block, computed by hand from its layers."""
    model = randomize(small(depth, attention=dict(type='Doubling'), mask='none'))
    x = torch.randn(2, 3, 32, 32)
    stem = model.forward_stem(x)
    block = model.layer1[0]
    y = torch.relu(block.norm1(block.conv1(stem)))
    y = block.norm2(block.conv2(y))
    if depth == 50:
        y = block.norm3(block.conv3(torch.relu(y)))
    shortcut = stem if block.downsample is None else block.downsample(stem)
    first = Mask.parse('none', model.stage_blocks).bits
    model.set_mask((1, *first[1:]))
    after_first = []
    block.register_forward_hook(lambda module, args, out: after_first.append(out))
    model(x)
    torch.testing.assert_close(after_first[0], torch.relu(2 * y + shortcut))


def test_blocks_of_a_stage_share_one_module():
    model = small(attention=SE)
    calls = {i: 0 for i in range(4)}
    for i, attention in enumerate(model.attentions):

        def count(module, args, output, i=i):
            calls[i] += 1

        attention.register_forward_hook(count)
    model.set_mask('11-10-00-01')
    model(torch.randn(2, 3, 64, 64))
    assert calls == {0: 2, 1: 1, 2: 0, 3: 1}


def test_unshared_attention_has_a_module_for_every_block():
    shared, unshared = small(attention=SE), small(attention=SE, share='block')
    per_stage = [sum(p.numel() for p in a.parameters()) for a in shared.attentions]
    assert shared.num_attention_parameters() == sum(per_stage)
    assert unshared.num_attention_parameters() == 2 * sum(per_stage)
    unshared.set_mask('10-00-00-00')
    assert unshared.num_attention_parameters() == per_stage[0]
    shared.set_mask('11-00-00-00')
    assert shared.num_attention_parameters() == per_stage[0]


def test_dia_state_runs_along_a_stage_and_restarts_at_the_next_call():
    model = randomize(small(34, attention=dict(type='DIAAttention')))
    states = []
    model.attentions[2].register_forward_hook(
        lambda module, args, out: states.append((args[1], out[1]))
    )
    x = torch.randn(2, 3, 64, 64)
    model.set_mask('000-0000-010110-000')
    first = model(x)
    assert [before is None for before, _ in states] == [True, False, False]
    assert states[1][0] is states[0][1] and states[2][0] is states[1][1]
    assert all(torch.equal(a, b) for a, b in zip(model(x), first))


def test_unshared_dia_starts_every_block_at_zero():
    model = small(34, attention=dict(type='DIAAttention'), share='block')
    states = []
    for attention in model.attentions[1]:
        attention.register_forward_hook(
            lambda module, args, out: states.append(args[1])
        )
    model(torch.randn(2, 3, 64, 64))
    assert states == [None] * 4


@pytest.mark.parametrize('attention', ALL)
@pytest.mark.parametrize('share', ['stage', 'block'])
def test_every_attention_trains_every_parameter(attention, share):
    model = small(attention=dict(type=attention), share=share).train()
    sum(out.sum() for out in model(torch.randn(2, 3, 64, 64))).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize('attention', [*ALL, 'Doubling'])
@pytest.mark.parametrize('depth', [18, 50])
def test_checkpointed_activations_give_the_same_gradients(attention, depth):
    model = small(depth, attention=dict(type=attention), with_cp=True)
    twin = small(depth, attention=dict(type=attention))
    twin.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 64, 64)
    for network in (model, twin):
        network.train()
        sum(out.square().sum() for out in network(x)).backward()
    for (name, p), q in zip(model.named_parameters(), twin.parameters()):
        torch.testing.assert_close(p.grad, q.grad, msg=name)


def test_identity_init_enters_a_trained_network_harmlessly():
    plain = randomize(small(50))
    x = torch.randn(2, 3, 64, 64)
    expected = plain(x)[-1]

    def change(init):
        model = small(50, attention=dict(type='SEAttention', init=init)).eval()
        model.load_state_dict(plain.state_dict(), strict=False)
        return ((model(x)[-1] - expected).norm() / expected.norm()).item()

    assert change('identity') < 0.05
    assert change('default') > 0.3


@pytest.mark.parametrize('init', ['identity', 'default'])
@pytest.mark.parametrize('attention', ALL)
def test_init_weights_keeps_the_attentions_own_start(attention, init):
    model = small(attention=dict(type=attention, init=init))
    model.init_weights()
    gate = model.attentions[0].gate(torch.rand(1, 8, 4, 4))
    gate = gate[0] if isinstance(gate, tuple) else gate
    assert (gate.mean() > 0.95) == (init == 'identity')


def test_init_weights_keeps_the_start_of_a_users_attention():
    class ZeroStart(nn.Conv2d):
        def __init__(self, channels):
            super().__init__(channels, channels, 1)
            nn.init.zeros_(self.weight)

    class Configured(BaseModule):
        def __init__(self, channels):
            super().__init__(dict(type='Constant', layer='Conv2d', val=0.5))
            self.conv = nn.Conv2d(channels, channels, 1)

        def forward(self, x):
            return self.conv(x)

    model = small(attention=dict(type=ZeroStart))
    model.init_weights()
    assert all((attention.weight == 0).all() for attention in model.attentions)
    model = small(attention=dict(type=Configured))
    model.init_weights()
    assert all((a.conv.weight == 0.5).all() for a in model.attentions)


def test_set_mask_takes_every_form_and_refuses_what_does_not_fit():
    model = small(attention=SE)
    model.set_mask((2, 1, 0, 3))
    assert str(model.mask) == '10-01-00-11'
    with pytest.raises(ValueError, match='2-2-2-2'):
        model.set_mask('101')
    assert str(model.mask) == '10-01-00-11'


def test_without_attention_no_bit_is_set_but_the_mask_is_still_checked():
    assert small(mask='all').mask.num_connections == 0
    assert len(small().attentions) == 0
    with pytest.raises(ValueError, match='2-2-2-2'):
        small(mask='1')


def test_attention_that_changes_the_shape_is_named():
    model = small(attention=dict(type='Halving'))
    with pytest.raises(ValueError, match='Halving maps .* to .*keep the shape'):
        model(torch.randn(1, 3, 64, 64))


def test_mask_survives_a_deep_copy():
    model = small(attention=SE, mask='10-01-00-11')
    assert copy.deepcopy(model).mask == model.mask


@pytest.mark.parametrize('share', ['stage', 'block'])
def test_plugged_says_the_module_of_each_block(share):
    model = small(attention=SE, share=share, mask='10-01-00-11')
    first, second, _, last = model.attentions
    if share == 'stage':
        expected = [[first, None], [None, second], [None, None], [last, last]]
    else:
        expected = [[first[0], None], [None, second[1]], [None, None], list(last)]
    assert model.plugged == expected


@pytest.mark.parametrize('duplicate', [copy.deepcopy, unpickle])
def test_a_copy_has_attention_of_its_own(duplicate):
    model = small(attention=SE, mask='10-01-00-11')
    copied = duplicate(model)
    assert copied.plugged[3] == [copied.attentions[3]] * 2
    assert copied.attentions[3] is not model.attentions[3]


@torch.no_grad()
def test_a_module_that_replaces_an_attention_is_run_in_its_place():
    """As a wrapper for activation checkpointing or a sharded module does."""
    model = randomize(small(attention=SE, mask='10-01-00-11'))
    expected = model(IMAGES)
    calls = []
    wrapper = nn.Sequential(model.attentions[3])
    wrapper.register_forward_hook(lambda *args: calls.append(args[0]))
    model.attentions[3] = wrapper
    for ours, theirs in zip(model(IMAGES), expected):
        torch.testing.assert_close(ours, theirs)
    assert calls == [wrapper, wrapper]


@torch.no_grad()
def test_a_synchronised_norm_layer_takes_the_place_of_attention():
    """A user's attention that is a norm layer itself."""
    model = randomize(small(attention=dict(type=NormAttention)))
    expected = model(IMAGES)
    nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert isinstance(model.plugged[0][0], nn.SyncBatchNorm)
    for attention in model.attentions:
        attention.weight.zero_()
    assert not torch.allclose(model(IMAGES)[-1], expected[-1])


def test_our_attentions_are_gates():
    model = small(attention=SE)
    assert all(isinstance(attention, GateAttention) for attention in model.attentions)
