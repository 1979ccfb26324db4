import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from ean_mm import SharedAttentionNeck
from ean_mm.search import SearchSpace

SE = dict(type='SEAttention', ratio=4)


def levels(*widths):
    return tuple(
        torch.randn(2, width, 32 >> i, 32 >> i) for i, width in enumerate(widths)
    )


def test_levels_of_one_width_share_a_module_and_others_pass_untouched():
    neck = SharedAttentionNeck([16] * 5, attention=SE, mask='10110')
    assert neck.stage_blocks == (5,) and len(neck.attentions) == 1
    inputs = levels(*[16] * 5)
    for x, y, bit in zip(inputs, neck(inputs), (1, 0, 1, 1, 0)):
        if bit:
            torch.testing.assert_close(y, neck.attentions[0](x))
        else:
            assert y is x


def test_every_width_of_a_backbone_is_a_stage_of_its_own():
    neck = SharedAttentionNeck([16, 32, 64, 64], attention=SE, mask='1-0-01')
    assert neck.stage_blocks == (1, 1, 2)
    inputs = levels(16, 32, 64, 64)
    outs = neck(inputs)
    torch.testing.assert_close(outs[0], neck.attentions[0](inputs[0]))
    assert outs[1] is inputs[1] and outs[2] is inputs[2]
    torch.testing.assert_close(outs[3], neck.attentions[2](inputs[3]))


def test_dia_runs_from_the_finest_to_the_coarsest_level():
    dia = dict(type='DIAAttention', ratio=4)
    neck = SharedAttentionNeck([16] * 4, attention=dia, mask='1011')
    inputs = levels(16, 16, 16, 16)
    outs, state = neck(inputs), None
    for i in (0, 2, 3):
        expected, state = neck.attentions[0](inputs[i], state)
        torch.testing.assert_close(outs[i], expected)


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmdet', 'mmseg'])
def test_it_is_an_element_of_a_neck_list_in_every_toolbox(scope):
    pytest.importorskip(scope)
    registry = __import__(f'{scope}.registry', fromlist=['MODELS']).MODELS
    with DefaultScope.overwrite_default_scope(scope):
        neck = registry.build(
            [
                dict(type='SharedAttentionNeck', in_channels=[8, 16], attention=SE),
                dict(type='SharedAttentionNeck', in_channels=[8, 16], attention=SE),
            ]
        )
    outs = neck(levels(8, 16))
    assert [out.shape[1] for out in outs] == [8, 16]
    space = SearchSpace(neck)
    assert space.stage_blocks == {'0': (1, 1), '1': (1, 1)}


def test_it_follows_mmdets_fpn():
    pytest.importorskip('mmdet')
    with DefaultScope.overwrite_default_scope('mmdet'):
        neck = MODELS.build(
            [
                dict(type='FPN', in_channels=[8, 16], out_channels=32, num_outs=3),
                dict(type='SharedAttentionNeck', in_channels=[32] * 3, attention=SE),
            ]
        )
    neck.init_weights()
    outs = neck(levels(8, 16))
    assert [tuple(out.shape[1:]) for out in outs] == [
        (32, 32, 32), (32, 16, 16), (32, 8, 8)]  # fmt: skip


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(in_channels=[8] * 4, mask='101'), 'stages of 4 blocks'),
        (dict(in_channels=[]), 'names no level'),
        (dict(in_channels=[8], attention=dict(type='X')), "'X' is not registered"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    with pytest.raises(ValueError, match=message):
        SharedAttentionNeck(**{'attention': SE, **arguments})


def test_another_number_of_levels_is_refused():
    with pytest.raises(ValueError, match='configured for 2 levels and got 3'):
        SharedAttentionNeck([8, 8], attention=SE)(levels(8, 8, 8))


def test_only_plugged_parameters_count():
    neck = SharedAttentionNeck([8, 8, 16], dict(type='SEAttention'), mask='01-0')
    one = sum(p.numel() for p in neck.attentions[0].parameters())
    assert neck.num_attention_parameters() == one
    neck.set_mask('none')
    assert neck.num_attention_parameters() == 0
