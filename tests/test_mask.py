import json
import pickle

import numpy as np
import pytest
import torch

from ean_mm import EANError, Mask

R50 = (3, 4, 6, 3)
BITS = (1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 1)


@pytest.mark.parametrize(
    'value',
    [
        '1001011010011011',
        '1001 0110 1001 1011',
        '100-1011-010011-011',
        ' 100|1011|010011|011\n',
        '100_1011_010011_011',
        (4, 11, 19, 3),
        [4, 11, 19, 3],
        list(BITS),
        np.array(BITS),
        torch.tensor(BITS),
        [bool(bit) for bit in BITS],
        [[1, 0, 0], [1, 0, 1, 1], [0, 1, 0, 0, 1, 1], [0, 1, 1]],
        Mask(BITS, R50),
    ],
    ids=repr,
)
def test_parse_reads_every_form(value):
    assert Mask.parse(value, R50) == Mask(BITS, R50)


def test_the_published_mask_has_the_published_decimals():
    mask = Mask.parse('1001011010011011', R50)
    assert str(mask) == '100-1011-010011-011'
    assert mask.codes == (4, 11, 19, 3)
    assert mask.bits == BITS
    assert mask.stages == ((1, 0, 0), (1, 0, 1, 1), (0, 1, 0, 0, 1, 1), (0, 1, 1))
    assert mask.num_connections == 9
    assert mask.sparsity == 7 / 16
    assert mask.stage_blocks == R50


def test_all_and_none():
    assert Mask.parse('all', R50).sparsity == 0
    assert Mask.parse('none', R50).num_connections == 0


def test_zeros_and_ones_as_long_as_the_network_are_bits_not_decimals():
    assert Mask.parse((1, 0, 1), (1, 1, 1)).bits == (1, 0, 1)
    assert Mask.parse((1, 0, 1), (3, 3, 3)).bits == (0, 0, 1, 0, 0, 0, 0, 0, 1)


def test_masks_are_values():
    mask = Mask.parse('100-1011-010011-011', R50)
    assert mask == Mask(BITS, R50)
    assert len({mask, Mask(BITS, R50)}) == 1
    assert mask != Mask(BITS, (4, 3, 6, 3))
    assert pickle.loads(pickle.dumps(mask)) == mask
    with pytest.raises(AttributeError):
        mask.bits = (0,) * 16


def test_an_int_is_refused_and_told_to_use_dashes():
    for value in (1001011010011011, np.int64(1001011010011011)):
        with pytest.raises(ValueError, match='dashes'):
            Mask.parse(value, R50)


@pytest.mark.parametrize(
    'value',
    [
        '100101101001101',
        '10010110100110112',
        'some',
        '',
        (4, 11, 19),
        (8, 11, 19, 3),
        (-1, 11, 19, 3),
        (4.0, 11, 19, 3),
        [[1, 0], [1], [0], [1]],
        [[2, 0, 0], [1, 0, 1, 1], [0, 1, 0, 0, 1, 1], [0, 1, 1]],
        None,
        {},
        1.5,
        object(),
        [10**4000] * 4,
        iter([1]),
        {1, 2},
        b'1001',
        'a' * 100_000,
        '\0.json',
        Mask.parse('all', (2, 2, 2, 2)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_anything_else_is_one_line_with_the_expected_sizes(value):
    with pytest.raises(ValueError, match='3-4-6-3') as caught:
        Mask.parse(value, R50)
    assert '\n' not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_random_masks_are_reproducible_and_follow_p():
    def draw(seed, p=0.5):
        return Mask.random((50, 50), torch.Generator().manual_seed(seed), p)

    assert draw(1) == draw(1) != draw(2)
    assert draw(0, p=0).num_connections == 0
    assert draw(0, p=1).num_connections == 100
    assert 5 < draw(0, p=0.2).num_connections < 40
    with pytest.raises(ValueError, match='probability'):
        draw(0, p=1.5)


def test_mask_file_round_trip(tmp_path):
    path = tmp_path / 'mask.json'
    mask = Mask.parse('100-1011-010011-011', R50)
    mask.to_file(
        path,
        network='EANResNet-50',
        attention=dict(type='SEAttention'),
        reward=77.5,
        accuracy=76.6,
        found_by=dict(searcher='RLController'),
    )
    read = Mask.from_file(path)
    assert read == mask == Mask.parse(str(path), R50) == Mask.parse(path, R50)
    assert read.info['accuracy'] == 76.6
    content = json.loads(path.read_text())
    assert content['mask'] == '100-1011-010011-011'
    assert content['stage_blocks'] == [3, 4, 6, 3]
    assert '[3, 4, 6, 3]' in path.read_text()  # a person reads it


def test_writing_what_json_cannot_hold_leaves_the_old_file(tmp_path):
    path = tmp_path / 'mask.json'
    mask = Mask.parse('all', R50)
    mask.to_file(path, reward=1.0)
    with pytest.raises(ValueError, match='cannot be written'):
        mask.to_file(path, reward=float('nan'))
    assert Mask.from_file(path).info['reward'] == 1.0
    assert [file.name for file in tmp_path.iterdir()] == ['mask.json']


def test_paths_resolve_in_the_current_folder_then_in_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = 'masks/resnet50_sge_imagenet.json'
    assert str(Mask.parse(name, R50)) == '100-1011-010011-011'
    (tmp_path / 'masks').mkdir()
    Mask.parse('all', R50).to_file(tmp_path / name)
    assert Mask.parse(name, R50).sparsity == 0


def test_file_of_another_network_warns_where_it_fits_and_fails_where_not(tmp_path):
    path = str(tmp_path / 'mask.json')
    Mask.parse('all', R50).to_file(path, network='EANResNet-50')
    with pytest.warns(UserWarning, match='EANResNet-34'):
        Mask.parse(path, R50, network='EANResNet-34')
    with pytest.raises(ValueError, match='EANResNet-50.*2-2-2-2'):
        Mask.parse(path, (2, 2, 2, 2), network='EANResNet-18')


@pytest.mark.parametrize(
    'content',
    [
        '', '{', '[]', '{}', 'null', '{"mask": 5}',
        '{"mask": "12", "stage_blocks": [2]}',
        '{"mask": "11", "stage_blocks": [3]}', '{"mask": "11", "stage_blocks": 2}',
        '{"mask": "11", "stage_blocks": [1e999]}', '{"mask": "11"}',
        '{"mask": "mask.json", "stage_blocks": [3]}', '[' * 100_000, '\xff\xfe',
        '{"mask": "1", "stage_blocks": [1000000000000]}',
    ],
    ids=lambda content: content[:30],
)  # fmt: skip
def test_damaged_mask_files_are_one_line(tmp_path, content):
    path = tmp_path / 'mask.json'
    path.write_text(content, encoding='latin-1')
    with pytest.raises(EANError, match='mask.json') as caught:
        Mask.parse(str(path), R50)
    assert '\n' not in str(caught.value)


def test_missing_mask_file():
    with pytest.raises(ValueError, match='no mask file nowhere.json'):
        Mask.parse('nowhere.json', R50)
    with pytest.raises(ValueError, match='no mask file nowhere.json'):
        Mask.from_file('nowhere.json')


@pytest.mark.parametrize(
    'mask, stage_blocks, expected',
    [
        ('100-1011-010011-011', (3, 4, 6, 3), '100-1011-010011-011'),
        ('10-11-01-00', (3, 4, 6, 3), '100-1111-000111-000'),
        ('100-1011-010011-011', (2, 2, 2, 2), '10-11-01-01'),
        ('100-1011-010011-011', (1, 1, 1, 1), '1-1-0-0'),
    ],
)
def test_resize_keeps_the_position_within_the_stage(mask, stage_blocks, expected):
    blocks = [len(stage) for stage in mask.split('-')]
    assert str(Mask.parse(mask, blocks).resize(stage_blocks)) == expected


def test_resize_to_resnet101_stretches_the_third_stage_alone():
    mask = Mask.parse('100-1011-010011-011', R50).resize((3, 4, 23, 3))
    assert str(mask).split('-')[:2] == ['100', '1011']
    assert mask.stages[2][0] == 0 and mask.stages[2][-1] == 1
    assert abs(sum(mask.stages[2]) / 23 - 3 / 6) < 0.1
    assert mask.info['resized_from'] == '100-1011-010011-011'
    with pytest.raises(ValueError, match='4 stages cannot be resized to 3'):
        mask.resize((3, 3, 3))
