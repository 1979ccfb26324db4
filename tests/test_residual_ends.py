"""Attention at the end of residual branches: which blocks, and which share a module."""

import copy
import pickle

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmpretrain.models.utils.sparse_modules import SparseHelper
from torch import nn
from wrapped import FAMILIES, HRNET, IMAGES, SE, assert_close, plain, run, wrap

from ean_mm import EANError, EANWrapper, Mask
from ean_mm.__main__ import main
from ean_mm.search import SearchSpace
from ean_mm.search.evaluation.cost import measure_cost

DIA = dict(type='DIAAttention')


class MyBlock(BaseModule):
    """A user's own residual block."""

    def __init__(self, channels, stride=1):
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(channels), nn.Conv2d(channels, channels, 3, stride, 1)
        )
        self.with_residual = stride == 1

    def forward(self, x):
        return x + self.branch(x) if self.with_residual else self.branch(x)


@MODELS.register_module()
class MyNetwork(BaseModule):
    """A user's own backbone; its blocks run in another order than they are built."""

    def __init__(self, in_channels=3):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 8, 3)
        self.late = nn.Sequential(MyBlock(8, 2), MyBlock(8))
        self.early = MyBlock(8)

    def forward(self, x):
        return [self.late(self.early(self.stem(x)))]


MINE = dict(residual_ends=dict(MyBlock='branch.1'))


# which blocks share a module


@pytest.mark.parametrize(
    'name, blocks, widths',
    [
        ('mmdet.CSPNeXt', (1, 2, 2, 1), (8, 16, 32, 64)),
        ('mmdet.HRNet', (2, 2, 2, 4, 4, 4, 2, 2, 2, 2),
         (32, 8, 16, 8, 16, 32, 8, 16, 32, 64)),
        ('mmpretrain.MobileNetV2', (1, 2, 3, 4, 3, 3, 1), (8, 8, 8, 16, 24, 40, 80)),
        ('mmseg.MobileNetV3', (1, 2, 3, 2, 3), (16, 24, 40, 48, 96)),
        ('mmdet.EfficientNet', (1, 2, 2, 3, 3), (16, 24, 40, 80, 112)),
        ('mmpretrain.ConvNeXt', (1, 2, 1, 1), (8, 16, 32, 64)),
    ],
)  # fmt: skip
def test_blocks_of_a_stage_and_a_width_share_a_module(name, blocks, widths):
    model = wrap(name)
    assert model.stage_blocks == blocks
    assert tuple(attention.channels for attention in model.attentions) == widths
    depth = sum(blocks)
    assert model.network == f'{name.partition(".")[2]}-{depth}'


def test_the_blocks_of_hrnets_bits_are_named_branch_by_branch():
    names = wrap('mmdet.HRNet').block_names
    assert names[0] == ['layer1.0', 'layer1.1']
    assert names[4] == [
        'stage3.0.branches.1.0', 'stage3.0.branches.1.1',
        'stage3.1.branches.1.0', 'stage3.1.branches.1.1']  # fmt: skip


def test_networks_that_see_patches_are_run_on_all_of_them():
    inner = dict(type='mmpretrain.SparseResNet', depth=50, base_channels=8)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        assert EANWrapper(inner, attention=SE).stage_blocks == (3, 4, 6, 3)
    assert SparseHelper._cur_active is None


def test_bits_are_in_the_order_of_execution():
    model = EANWrapper(dict(type='MyNetwork'), attention=SE, **MINE)
    assert model.block_names == [['early'], ['late.0', 'late.1']]


@torch.no_grad()
def test_each_bit_is_of_its_block():
    model = wrap('mmdet.HRNet', mask='none')
    total, order = sum(model.stage_blocks), []
    blocks = [block for stage in model.masked_blocks for block in stage]
    for module in (*model.attentions, *blocks):
        module.register_forward_hook(lambda module, args, out: order.append(module))
    for bit in range(0, total, 5):
        model.set_mask([int(i == bit) for i in range(total)])
        order.clear()
        model(IMAGES)
        (attention,) = (i for i, m in enumerate(order) if m in [*model.attentions])
        assert order[attention + 1] is blocks[bit]


@pytest.mark.parametrize('blocks', [[['a.0', 'a.1'], ['b']], [['a.0']], 7, [[], [1]]])
def test_mask_show_says_where_the_blocks_are_if_the_file_does(capsys, tmp_path, blocks):
    path = tmp_path / 'mask.json'
    Mask((1, 0, 1), (2, 1)).to_file(path, blocks=blocks)
    assert main(['mask', 'show', str(path)]) == 0
    assert ('a.0 … a.1' in capsys.readouterr().out) == (
        blocks == [['a.0', 'a.1'], ['b']]
    )


# blocks of one's own, and which blocks


@torch.no_grad()
def test_a_line_in_the_config_adds_a_block():
    with pytest.raises(EANError, match="residual_ends=dict\\(MyBlock='conv2'\\)"):
        EANWrapper(dict(type='MyNetwork'), attention=SE)
    with pytest.raises(EANError, match='MyBlock has no layer branch.7'):
        options = dict(residual_ends=dict(MyBlock='branch.7'))
        EANWrapper(dict(type='MyNetwork'), attention=SE, **options)
    images = torch.randn(2, 1, 32, 32)
    inner = dict(type='MyNetwork', in_channels=1)
    model = EANWrapper(inner, attention=SE, mask='1-00', **MINE).eval()
    theirs = MyNetwork(in_channels=1).eval()
    theirs.load_state_dict(model.state_dict(), strict=False)
    x = theirs.stem(images)
    early = x + model.attentions[0](theirs.early.branch(x))
    assert_close(model(images), [theirs.late(early)], 1e-6)


def test_a_backbone_that_cannot_run_the_image_is_refused_in_one_line():
    class Demanding(MyNetwork):
        def forward(self, x, y):
            return [x, y]

    with pytest.raises(EANError, match='Demanding is no backbone .* cannot run an im'):
        EANWrapper(dict(type=Demanding), attention=SE, **MINE)


def test_blocks_without_a_shortcut_can_be_left_out():
    for name, everywhere, fewer in [
        ('mmdet.CSPNeXt', (1, 2, 2, 1), (1, 2, 2)),
        ('mmpretrain.MobileNetV2', (1, 2, 3, 4, 3, 3, 1), (1, 1, 2, 3, 2, 2)),
        ('mmseg.MobileNetV3', (1, 2, 3, 2, 3), (1, 2, 1, 2)),
    ]:
        assert wrap(name).stage_blocks == everywhere
        assert wrap(name, shortcut_only=True).stage_blocks == fewer
    options = dict(residual_ends=dict(Bottleneck=()))
    assert len(wrap('mmdet.HRNet', **options).stage_blocks) == 9


@pytest.mark.parametrize(
    'name', ['mmdet.CSPNeXt', 'mmseg.MobileNetV3', 'mmdet.EfficientNet']
)
def test_a_networks_own_attention_stays_or_goes(name):
    theirs = plain(name)
    own = {
        key
        for module, layer in theirs.named_modules()
        if type(layer).__name__ in ('SELayer', 'ChannelAttention')
        for key in (
            f'{module}.{parameter}' for parameter, _ in layer.named_parameters()
        )
    }
    assert own and own <= wrap(name).state_dict().keys()
    ours = wrap(name, replace_attention=True)
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert set(unexpected) == own
    assert all(key.startswith('attentions.') for key in missing)
    _, gradients = run(ours)
    assert all(gradient is not None for gradient in gradients.values())


# the hooks


@pytest.mark.parametrize(
    'duplicate', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
@pytest.mark.parametrize('name', FAMILIES)
@torch.no_grad()
def test_a_copy_has_attention_of_its_own(name, duplicate):
    model = wrap(name, DIA)
    copied = duplicate(model)
    expected = model(IMAGES)
    assert all(map(torch.equal, copied(IMAGES), expected))
    copied.set_mask('none')
    for parameter in copied.parameters():
        parameter.zero_()
    assert all(map(torch.equal, model(IMAGES), expected))


@torch.no_grad()
def test_norm_layers_may_be_replaced():
    model = wrap('mmdet.ResNet')
    expected = model(IMAGES)
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert isinstance(synchronised.layer1[0].norm2, nn.SyncBatchNorm)
    assert_close(synchronised(IMAGES), expected, 1e-6)
    synchronised.set_mask('none')
    assert not torch.allclose(synchronised(IMAGES)[-1], expected[-1])


@pytest.mark.parametrize(
    'name', ['mmdet.HRNet', 'mmpretrain.MobileNetV2', 'mmpretrain.ConvNeXt']
)
def test_checkpointed_blocks_hand_on_the_state(name):
    """Also where the network runs twice before the gradients are computed."""
    model = wrap(name, DIA, inner=dict(with_cp=True)).double()
    twin = wrap(name, DIA).double()
    twin.load_state_dict(model.state_dict())
    for network in (model, twin):
        network.train()
        first, second = network(IMAGES.double()), network(IMAGES.double().flip(3))
        sum(out.cos().sum() for out in (*first, *second)).backward()
    for (key, ours), theirs in zip(model.named_parameters(), twin.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, msg=key)
    assert all(end.state is None for ends in model._ends for end in ends)


def test_a_state_that_is_lost_is_said():
    """As when others checkpoint a block, which then runs again."""
    model = wrap('mmdet.HRNet', DIA, mask='none')
    model.set_mask([1, 1] + [0] * (sum(model.stage_blocks) - 2))
    model(IMAGES)
    with pytest.raises(EANError, match='DIAAttention goes on from the block before'):
        model.layer1[1](torch.randn(2, 32, 8, 8))


@pytest.mark.parametrize('kind', ['latency', 'flops'])
def test_costs_are_of_their_bits_where_stages_run_by_turns(kind):
    init_default_scope('mmpretrain')
    backbone = dict(type='mmpretrain.HRNet', **HRNET)
    backbone = dict(type='EANWrapper', attention=DIA, backbone=backbone)
    model = MODELS.build(dict(type='ImageClassifier', backbone=backbone))
    space = SearchSpace(model)
    table = measure_cost(kind, model, space, dict(inputs=IMAGES))
    assert [bit for bits, _ in table.entries for bit in bits] == [*range(26)]
    if kind == 'flops':
        widths = [
            attention.channels
            for attention, blocks in zip(
                model.backbone.attentions, model.backbone.stage_blocks
            )
            for _ in range(blocks)
        ]
        costs = [cost for _, cost in table.entries]
        assert sorted(zip(widths, costs)) == [*zip(sorted(widths), sorted(costs))]
