"""What attention costs, and rewards that count it."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from searches import history, judged_masks

from ean_mm import EANError, Mask
from ean_mm.search import Reward, SearchSpace
from ean_mm.search.evaluation.cost import measure_cost
from ean_mm.search.evaluation.runtime_latency import runtime_latency


def build(share='stage', attention='SEAttention', neck=None, **backbone):
    init_default_scope('mmpretrain')
    necks = [dict(type='GlobalAveragePooling')]
    if neck:
        necks.insert(0, dict(type='SharedAttentionNeck', in_channels=[64],
                             attention=dict(type=neck)))  # fmt: skip
    model = MODELS.build(dict(
        type='ImageClassifier', neck=necks,
        backbone=dict(type='EANResNet', depth=18, base_channels=8, stem_channels=8,
                      share=share, attention=dict(type=attention), **backbone),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=64)))  # fmt: skip
    return model, SearchSpace(model)


DATA = dict(inputs=torch.randn(2, 3, 64, 64))


def test_shared_parameters_count_once():
    model, space = build()
    table = measure_cost('parameters', model, space, DATA)
    # SE on 8, 16, 32 and 64 channels, ratio 16: C -> h -> C with biases
    hidden = [1, 1, 2, 4]
    sizes = [2 * c * h + h + c for c, h in zip((8, 16, 32, 64), hidden)]
    plain = sum(p.numel() for p in model.parameters()) - sum(sizes)
    for bits, used in (('00000000', []), ('10000001', [0, 3]), ('11111111', range(4))):
        expected = 100 * sum(sizes[i] for i in used) / plain
        assert table.percent(list(map(int, bits))) == pytest.approx(expected)


def test_unshared_parameters_count_for_every_block():
    model, space = build(share='block')
    table = measure_cost('parameters', model, space, DATA)
    one, two = (table.percent(bits) for bits in ([1] + [0] * 7, [1, 1] + [0] * 6))
    assert one > 0 and two == pytest.approx(2 * one)


@pytest.mark.parametrize('attention', ['SEAttention', 'DIAAttention'])
@pytest.mark.parametrize('kind', ['latency', 'flops'])
def test_latency_and_flops_add_up(kind, attention):
    model, space = build(attention=attention, neck='ECAAttention')
    table = measure_cost(kind, model, space, DATA)
    single = [table.percent([i == j for j in range(9)]) for i in range(9)]
    if kind == 'flops':  # a latency is measured, and may come out below zero
        assert all(cost > 0 for cost in single)
    assert table.percent([1] * 9) == pytest.approx(sum(single))
    assert table.percent([0] * 9) == 0


def test_latency_of_a_bottleneck_whose_gate_comes_early():
    init_default_scope('mmpretrain')
    backbone = dict(type='EANResNet', depth=50, base_channels=8, stem_channels=8,
                    attention=dict(type='DIAAttention'))  # fmt: skip
    head = dict(type='LinearClsHead', num_classes=3, in_channels=256)
    model = MODELS.build(dict(type='ImageClassifier', backbone=backbone, head=head,
                              neck=dict(type='GlobalAveragePooling')))  # fmt: skip
    table = measure_cost('latency', model, SearchSpace(model), DATA)
    assert len(table.entries) == 16
    assert not model.backbone.deployed  # a copy was


def test_flops_of_se_by_hand():
    model, space = build()
    table = measure_cost('flops', model, space, DATA)
    # C -> h -> C of stages 1 and 4; mmengine does not count pooling and products
    first, last = table.percent([1] + [0] * 7), table.percent([0] * 7 + [1])
    assert first / last == pytest.approx((8 * 1) / (64 * 4))


def test_the_budget_form_and_the_weighted_form():
    budget = Reward(cost='latency', cost_budget=2.0)
    assert budget(70.0, 0.5, 1.9) == 70.0
    assert budget(70.0, 0.5, 2.5) == pytest.approx(70.0 - 5.0)
    weighted = Reward(cost='flops', cost_weight=0.5, sparsity_weight=2.0)
    assert weighted(70.0, 0.5, 3.0) == pytest.approx(70.0 + 1.0 - 1.5)
    assert Reward()(70.0, 0.5) == 71.0


@pytest.mark.parametrize(
    'arguments',
    [dict(cost='time', cost_weight=1.0), dict(cost='latency'), dict(cost_budget=2.0)],
)
def test_mistakes_are_one_line(arguments):
    with pytest.raises(EANError, match='cost'):
        Reward(**arguments)


def test_a_search_counts_the_cost_and_keeps_it(digits_config, build_runner):
    digits_config.custom_hooks[2].reward = dict(
        metric='accuracy/top1', cost='latency', cost_budget=1.0
    )
    build_runner(digits_config).train()
    folder = Path(digits_config.work_dir)
    before = history(folder)
    costs = {entry['mask']['backbone']: entry['cost'] for entry in judged_masks(folder)}
    mask = Mask.from_file(folder / 'mask_backbone.json')
    assert mask.info['latency'] == costs[str(mask)]
    # resumed, the search goes on with the costs that it began with
    digits_config.custom_hooks[2].update(resume=True)
    digits_config.train_cfg.max_epochs = 0
    digits_config.param_scheduler = None
    digits_config.load_from = str(folder / 'epoch_1.pth')
    build_runner(digits_config).train()
    assert history(folder)[: len(before) - 1] == before[:-1]


@pytest.mark.slow
@pytest.mark.parametrize('runtime', ['openvino', 'onnxruntime'])
def test_latency_in_a_runtime_is_the_same_for_the_blocks_of_a_stage(runtime):
    pytest.importorskip(runtime)
    pytest.importorskip('onnxscript')
    model, space = build(
        num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(1,)
    )
    table = runtime_latency(space, DATA['inputs'], runtime, 'f32')
    single = [table.percent([i == j for j in range(4)]) for i in range(4)]
    assert single[::2] == single[1::2] and min(single) >= 0
    assert table.percent([1] * 4) == pytest.approx(sum(single))
    assert not model.backbone.deployed  # a copy was


def test_a_latency_in_a_runtime_that_cannot_be_measured_is_refused():
    _, space = build(neck='ECAAttention')
    with pytest.raises(EANError, match='the model has EANResNet, SharedAttentionNeck'):
        runtime_latency(space, DATA['inputs'], 'onnxruntime', 'f32')
    with pytest.raises(EANError, match="use cost='latency' with cost_runtime="):
        Reward(cost='flops', cost_budget=1.0, cost_runtime='openvino')
