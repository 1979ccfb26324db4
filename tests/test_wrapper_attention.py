"""Shared attention around backbones that other packages have written."""

import copy

import pytest
import torch
import torch.distributed as dist
from mmengine.registry import MODELS
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from wrapped import IMAGES, assert_close, run, wrap

ALL = ['SEAttention', 'SGEAttention', 'DIAAttention', 'SPAAttention', 'ECAAttention',
       'CBAMAttention']  # fmt: skip
DIA = dict(type='DIAAttention')
guests = pytest.mark.parametrize('name', ['mmpretrain.Res2Net', 'mmdet.ResNet'])
three = pytest.mark.parametrize(
    'name', ['mmpretrain.ResNeXt', 'mmdet.ResNeXt', 'mmdet.Res2Net']
)


@MODELS.register_module()
class SigmoidAttention(nn.Module):
    """A user's own attention, whose backward pass needs what it returned."""

    def forward(self, x):
        return x.sigmoid()


@guests
@torch.no_grad()
def test_blocks_of_a_stage_share_a_module_or_have_one_each(name):
    shared, unshared = wrap(name), wrap(name, share='block')
    blocks = shared.stage_blocks
    per_stage = [sum(p.numel() for p in a.parameters()) for a in shared.attentions]
    assert shared.num_attention_parameters() == sum(per_stage)
    expected = sum(n * count for n, count in zip(blocks, per_stage))
    assert unshared.num_attention_parameters() == expected
    calls = []
    shared.attentions[0].register_forward_hook(lambda *args: calls.append(1))
    shared(IMAGES)
    assert len(calls) == blocks[0]


@three
def test_dia_state_skips_blocks_without_a_bit_and_restarts(name):
    model = wrap(name, DIA, mask='101-0110')
    states = []
    model.attentions[1].register_forward_hook(
        lambda module, args, out: states.append((args[1], out[1]))
    )
    first = model(IMAGES)
    (before, after), (second_before, _) = states
    assert before is None and second_before is after
    with pytest.raises(RuntimeError):  # in the middle of the second stage
        with torch.no_grad():
            handle = model.layer2[2].register_forward_pre_hook(_fail)
            model(IMAGES)
    handle.remove()
    assert all(map(torch.equal, model(IMAGES), first))


def _fail(*args):
    raise RuntimeError


def test_unshared_dia_starts_every_block_at_zero():
    model, states = wrap('mmdet.ResNet', DIA, share='block'), []
    for attention in model.attentions[1]:
        attention.register_forward_hook(
            lambda module, args, out: states.append(args[1])
        )
    model(IMAGES)
    assert states == [None, None]


@three
@pytest.mark.parametrize('attention', [*ALL, 'SigmoidAttention'])
def test_checkpointed_activations_give_the_same_gradients(attention, name):
    attention = dict(type=attention)
    model = wrap(name, attention, inner=dict(with_cp=True)).double()
    twin = wrap(name, attention).double()
    twin.load_state_dict(model.state_dict())
    (outs, gradients), (expected, wanted) = run(model), run(twin)
    assert_close(outs, expected, 1e-12)
    for key, gradient in wanted.items():
        torch.testing.assert_close(gradients[key], gradient, msg=key)


def test_checkpointed_activations_under_ddp():
    """With a shared module in some blocks, as SupernetHook's masks come."""
    options = dict(mask='10-11-00-01', inner=dict(with_cp=True))
    model = wrap('mmdet.ResNet', DIA, **options)
    _, expected = run(copy.deepcopy(model))
    dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)
    try:
        parallel = DistributedDataParallel(model, find_unused_parameters=True)
        _, gradients = run(parallel)
    finally:
        dist.destroy_process_group()
    for name, gradient in expected.items():
        if gradient is not None:
            torch.testing.assert_close(gradients[f'module.{name}'], gradient)
