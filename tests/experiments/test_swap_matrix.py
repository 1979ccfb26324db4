"""The matrix of swapped stock configs: that it finds equality, and differences."""

import pytest

from ean_mm import EANResNet, EANWrapper
from ean_mm.models.masked_backbone import MaskedBackbone
from studies import stock_configs as configs
from studies import swap_matrix as matrix
from studies.markdown import fill
from studies.results import Rows
from studies.stock_configs import StockModel, stock_configs, swap
from studies.swap_report import swap_block

CIFAR = 'resnet/resnet18_8xb16_cifar10.py'
SOLO = 'solo/decoupled-solo-light_r50_fpn_3x_coco.py'
"""does not name norm_eval"""
PSPNET = 'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
ICNET = 'icnet/icnet_r18-d8_4xb2-80k_cityscapes-832x832.py'
SOFT_TEACHER = (
    'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'
)
CSV = 'docs/data/swap_matrix.csv'


def compare(toolbox, name):
    pytest.importorskip(toolbox)
    return matrix.compare(StockModel(toolbox, name), matrix.SIZES[toolbox])


@pytest.mark.parametrize(
    'toolbox, name, swapped_to',
    [
        ('mmpretrain', CIFAR, 'EANWrapper'),
        ('mmdet', 'retinanet/retinanet_r18_fpn_1x_coco.py', 'EANResNet'),
        ('mmseg', PSPNET, 'EANResNetV1c'),
    ],
)
def test_a_stock_config_is_what_it_was(toolbox, name, swapped_to):
    outcome = compare(toolbox, name)
    assert outcome == ('equal', swapped_to, 'bit for bit')


def swapped_wrongly(monkeypatch, **options):
    """Let the swap change options of the backbone on the way."""

    def wrong(backbone, attention, wrap=False):
        return dict(swap(backbone, attention, wrap), **options)

    monkeypatch.setattr(configs, 'swap', wrong)


def test_another_stem_is_unequal(monkeypatch):
    monkeypatch.setitem(configs.VARIANTS, 'ResNetV1c', 'EANResNet')
    outcome = compare('mmseg', PSPNET)
    assert (outcome.result, outcome.swapped_to) == ('unequal', 'EANResNet')
    assert 'weights do not fit' in outcome.details


def test_norm_layers_that_train_beyond_the_stock_models_are_unequal(monkeypatch):
    monkeypatch.setattr(EANResNet, 'scope_defaults', {})
    outcome = compare('mmdet', SOLO)
    assert outcome.result == 'unequal'
    # Of the backbone's 53, norm_eval stops all, a frozen first stage 11; the heads'
    # are group norm.
    trains = int(outcome.details.partition('training mode: ')[2].partition(',')[0])
    assert 'norm layers in training mode' in outcome.details
    assert trains - int(outcome.details.rpartition(' ')[2]) == 53 - 11


def test_other_numbers_are_unequal(monkeypatch):
    """The weights fit: a dilation has none."""
    swapped_wrongly(monkeypatch, contract_dilation=False)
    outcome = compare('mmseg', PSPNET)
    assert outcome.result == 'unequal' and 'losses differ by' in outcome.details


def test_a_mask_without_effect_is_unequal(monkeypatch):
    monkeypatch.setattr(EANWrapper, '_hand_out', lambda self: None)
    outcome = compare('mmpretrain', CIFAR)
    assert outcome.result == 'unequal'
    assert outcome.details == 'backbone: map 0 is the same for any mask'


def test_attention_that_the_host_passes_by_is_unequal(monkeypatch):
    """It is there in the backbone's forward, and ICNet calls the stages itself."""
    hand_out, forward = MaskedBackbone._hand_out, MaskedBackbone.forward

    def only_here(self, x):
        hand_out(self)
        try:
            return forward(self, x)
        finally:
            for stage in self.stages:
                stage.places = ()

    monkeypatch.setattr(MaskedBackbone, '_hand_out', lambda self: None)
    monkeypatch.setattr(MaskedBackbone, 'forward', only_here)
    outcome = compare('mmseg', ICNET)
    assert outcome.result == 'unequal'
    assert outcome.details.endswith('attention of stage 1 gets no gradient')


def test_backbones_of_other_kinds_and_missing_packages_are_told_apart():
    assert compare('mmpretrain', 'vgg/vgg11_8xb32_in1k.py').result == (
        'no residual backbone'
    )
    outcome = compare('mmpretrain', 'ofa/ofa-base_finetuned_vqa.py')
    assert outcome.result == 'cannot be built' and 'Error: ' in outcome.details


def run(path, only, toolbox='mmpretrain'):
    rows = Rows(path, matrix.COLUMNS)
    return list(matrix.run_matrix(rows, [toolbox], only))


def test_a_crash_of_one_config_does_not_end_the_run(monkeypatch, tmp_path):
    def crash(self, cfg=None):
        raise RuntimeError('out of something\nand more')

    monkeypatch.setattr(StockModel, 'build', crash)
    rows = run(tmp_path / 'matrix.csv', 'resnet/resnet[13][84]_8xb16_cifar10.py')
    assert len(rows) == 2
    assert {row['details'] for row in rows} == {
        'RuntimeError: out of something and more'
    }


def test_a_run_that_was_stopped_goes_on(monkeypatch, tmp_path):
    """And configs with the same model are compared once."""
    compared = []

    def count(stock, sizes):
        compared.append(stock.hash)
        return matrix.Outcome('equal', 'EANResNet', 'bit for bit')

    monkeypatch.setattr(matrix, 'compare', count)
    path, only = tmp_path / 'matrix.csv', 'resnet/resnet50_8xb32*in1k.py'
    first = next(matrix.run_matrix(Rows(path, matrix.COLUMNS), ['mmpretrain'], only))
    rows = run(path, only)
    names = [row['config'] for row in Rows(path, matrix.COLUMNS).rows]
    assert names == [first['config'], *(row['config'] for row in rows)]
    assert sorted(names) == [
        name for name in stock_configs('mmpretrain')
        if name.startswith('resnet/resnet50_8xb32') and name.endswith('in1k.py')
    ]  # fmt: skip
    assert len(set(compared)) == len(compared) < len(names)
    same = [row for row in rows if row['details'].startswith('the model of ')]
    assert len(same) == len(names) - len(compared)
    assert run(path, only) == []


def test_each_folder_has_its_turn():
    assert matrix.in_turns(['a/1', 'a/2', 'a/3', 'b/1']) == ['a/1', 'b/1', 'a/2', 'a/3']


def row(config, result, details='', model='m1', **cells):
    cells = dict(backbone='ResNet', swapped_to='EANResNet', **cells)
    return dict(
        toolbox='mmdet', config=config, model=model, result=result, details=details,
        seconds=1800.0, **cells,
    )  # fmt: skip


def test_the_report_counts_configs_and_names_those_that_are_not_equal():
    rows = [
        row('a/one.py', 'equal', 'bit for bit'),
        row('a/two.py', 'equal', 'the model of a/one.py'),
        row('b/one.py', 'refused', 'EANWrapper refuses: no | way', model='m2'),
        row('b/two.py', 'refused', 'the model of b/one.py', model='m2'),
        row('c/one.py', 'no residual backbone'),
        row('d/one.py', 'not compared', model='m3'),
        row('d/two.py', 'not compared', model='m3'),
    ]
    block = swap_block(rows)
    assert '| mmdet | `ResNet` | `EANResNet` | 4 | 2 | 2 | 2 | 0 | 0 |' in block
    assert '- mmdet, `b/one.py`, `b/two.py`: EANWrapper refuses: no   way' in block
    assert 'Of the 1 models that are equal, 1 are so bit for bit' in block
    assert '1 more configs have none of these' in block
    assert 'and 2 have one but have not been compared' in block
    assert '3.5 hours' in block


def test_rows_are_removed_to_be_compared_again_and_reported(tool, tmp_path):
    csv, page = tmp_path / 'matrix.csv', tmp_path / 'page.md'
    rows = Rows(csv, matrix.COLUMNS)
    for config, result in (('a/one.py', 'equal'), ('b/one.py', 'cannot be built')):
        rows.append(row(config, result, 'bit for bit', model=config))
    rows.remove(lambda row: row['result'] == 'cannot be built')
    assert [row['config'] for row in Rows(csv, matrix.COLUMNS).rows] == ['a/one.py']
    page.write_text('<!-- begin: swap matrix -->\n<!-- end: swap matrix -->\n')
    status, out = tool(
        'experiments/swap_matrix.py', '--only-report', '--csv', csv, '--report', page
    )
    assert status == 0 and '| all |  |  | 1 | 1 | 1 | 0 | 0 | 0 |' in page.read_text()


def test_the_committed_table_has_no_silent_difference(root, tmp_path):
    """And the documentation has what is in it."""
    rows = Rows(root / CSV, matrix.COLUMNS).rows
    assert len({(row['toolbox'], row['config']) for row in rows}) == len(rows)
    assert [row for row in rows if row['result'] == 'unequal'] == []
    page = root / 'docs/robustness.md'
    (tmp_path / 'page.md').write_text(page.read_text())
    fill(tmp_path / 'page.md', {'swap matrix': swap_block(rows)})
    assert (tmp_path / 'page.md').read_text() == page.read_text()


@pytest.mark.slow
def test_what_a_resnet_of_ours_refuses_is_wrapped():
    outcome = compare('mmdet', 'gcnet/mask-rcnn_r50-gcb-r4-c3-c5_fpn_1x_coco.py')
    assert outcome[:2] == ('equal', 'EANWrapper')
    assert outcome.details.startswith('bit for bit; EANResNet refuses: ')


@pytest.mark.slow
@pytest.mark.parametrize(
    'toolbox, name',
    [
        ('mmpretrain', 'mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py'),
        ('mmpretrain', 'resnet/resnetv1d50_8xb32_in1k.py'),
        ('mmpretrain', 'regnet/regnetx-800mf_8xb128_in1k.py'),
        ('mmpretrain', 'seresnet/seresnet50_8xb32_in1k.py'),
        ('mmdet', SOLO),
        ('mmdet', 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'),
        ('mmdet', 'res2net/faster-rcnn_res2net-101_fpn_2x_coco.py'),
        ('mmdet', SOFT_TEACHER),
        ('mmdet', 'reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py'),
        ('mmseg', ICNET),
        ('mmseg', 'upernet/upernet_r18_4xb4-80k_ade20k-512x512.py'),
        ('mmseg', 'bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py'),
    ],
)  # fmt: skip
def test_a_sample_of_stock_configs_is_what_it_was(toolbox, name):
    outcome = compare(toolbox, name)
    assert outcome.result == 'equal' and outcome.details.startswith('bit for bit')
