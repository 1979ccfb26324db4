"""Mask files from strangers, as generated as the masks in test_strangers_masks.py."""

import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from strangers import (
    EXAMPLES,
    LIMIT,
    bits_of_text,
    check,
    is_number,
    run,
    summary,  # noqa: F401
    texts,
)

from ean_mm import EANError, Mask


def number_text():
    return st.sampled_from(
        ['NaN', '-Infinity', '1e999', '1' * 5000, '-0', '1.5', '07', '0x3', '1e2', '']
    )


def entries_of(text):
    """The entries of a mask file as a JSON reader sees them; None if it is no JSON."""
    pairs = []

    def note(of_object):
        pairs.append([key for key, _ in of_object])
        return dict(of_object)

    def finite(text):
        if abs(float(text)) < np.inf:
            return float(text)
        raise ValueError(text)

    try:
        content = json.loads(
            text, object_pairs_hook=note, parse_float=finite, parse_constant=finite
        )
    except (ValueError, RecursionError):
        return None
    twice = any(len(set(keys)) < len(keys) for keys in pairs)
    return None if twice else content


def bits_of_file(text, blocks):
    content = entries_of(text)
    if not isinstance(content, dict) or not isinstance(content.get('mask'), str):
        return None
    stored = content.get('stage_blocks')
    if not isinstance(stored, list) or not all(map(is_number, stored)):
        return None
    if stored != list(blocks) or content['mask'][:1] not in ('0', '1'):
        return None
    return bits_of_text(content['mask'], blocks)


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        texts,
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.text(max_size=5), inner, max_size=3),
    ),
    max_leaves=10,
)


@st.composite
def files(draw):
    """The bytes of a mask file, with mistakes or without."""
    entries = dict(mask='100-1011-010011-011', stage_blocks=[3, 4, 6, 3],
                   sparsity=0.4375, num_connections=9, network='ResNet',
                   attention=dict(type='SEAttention'), accuracy=76.5)  # fmt: skip
    kind = draw(st.sampled_from(
        ['binary', 'wrong type', 'mutated', 'nested', 'number', 'twice', 'encoded',
         'large', 'entries']
    ))  # fmt: skip
    if kind == 'binary':
        return draw(st.binary(max_size=200))
    if kind == 'wrong type':
        key = draw(st.sampled_from(['mask', 'stage_blocks']))
        entries[key] = draw(json_values)
        if draw(st.booleans()):
            entries.pop(key)
    if kind == 'entries':
        entries.update(draw(st.dictionaries(st.text(max_size=9), json_values)))
        entries['network'] = draw(json_values)
    text = json.dumps(entries, indent=draw(st.sampled_from([None, 2])))
    if kind == 'number':
        text = text.replace('76.5', draw(number_text()))
    if kind == 'twice':
        text = f'{text[:-1].rstrip()}, "mask": "{draw(st.text("01-", max_size=20))}"}}'
    if kind == 'nested':
        start, end = draw(st.sampled_from(['[]', ('{"a":', '}'), ('[', '')]))
        depth = draw(st.sampled_from([1, 50, 100_000]))
        nested = f'{start * depth}1{end * depth}'
        text = draw(st.sampled_from([nested, text.replace('76.5', nested)]))
    if kind == 'large':
        filling = draw(st.sampled_from([' ', '1', '\n', '\0', '[']))
        text += filling * draw(st.sampled_from([10**5, 2 * 10**6]))
    if kind == 'encoded':
        encoding = draw(st.sampled_from(
            ['utf-8-sig', 'utf-16', 'utf-32', 'utf-16-be', 'cp500', 'utf-7']
        ))  # fmt: skip
        return text.encode(encoding)
    content = bytearray(text, 'utf-8', 'surrogatepass')
    if kind == 'mutated':
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, len(content)))
            end = draw(st.sampled_from([at, at + 1, at + 9, len(content)]))
            content[at:end] = draw(st.one_of(
                st.binary(max_size=3), st.sampled_from(list(map(str.encode, '01",:[{')))
            ))  # fmt: skip
    return bytes(content)


@pytest.mark.parametrize('examples', EXAMPLES)
def test_a_mask_file_is_read_or_refused_by_one_line(examples, tmp_path):
    path = tmp_path / 'mask.json'
    blocks = (3, 4, 6, 3)

    def test(content):
        path.write_bytes(content)
        expected = bits_of_file(content, blocks)
        if len(content) > 1 << 20:
            expected = None
        check('bad files', lambda: Mask.parse(path, blocks, 'ResNet'), expected)
        if expected is not None:
            mask = Mask.from_file(path)
            mask.to_file(path)
            again = Mask.from_file(path)
            assert (again, again.info) == (mask, mask.info)

    run(files(), test, examples)


@pytest.fixture
def odd_files(tmp_path):
    """Paths that are no mask files, among them what a reader could wait on for ever."""
    os.mkfifo(tmp_path / 'fifo.json')
    (tmp_path / 'loop.json').symlink_to(tmp_path / 'loop.json')
    (tmp_path / 'zero.json').symlink_to('/dev/zero')
    (tmp_path / 'terminal.json').symlink_to('/dev/stdin')
    (tmp_path / 'memory.json').symlink_to('/proc/self/mem')
    (tmp_path / 'kernel.json').symlink_to('/proc/kallsyms')  # 0 bytes long, says stat
    (tmp_path / 'folder.json').mkdir()
    (tmp_path / 'dangling.json').symlink_to(tmp_path / 'nowhere')
    with open(tmp_path / 'sparse.json', 'wb') as file:
        file.truncate(1 << 30)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / 'socket.json'))
        (tmp_path / 'a\nb.json').write_text('{')
        (tmp_path / ('x' * 250)).write_text('{')
        yield [*map(str, tmp_path.iterdir()), '/dev/zero', '/dev/null', '', '\0', '~']


def test_odd_files_are_refused_by_one_line(odd_files, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert len(odd_files) == 17
    for name in odd_files:
        for path in (name, Path(name), name.encode(), Path(name).name):
            check('bad files', lambda: Mask.parse(path, (3, 3, 3)), None)  # noqa: B023
            check('bad files', lambda: Mask.from_file(path), None)  # noqa: B023


# What was found so, each by name


def refused(value, blocks=(3, 3, 3)):
    check('bad masks', lambda: Mask.parse(value, blocks), None)


@pytest.mark.parametrize(
    'entries',
    [
        '"mask": "111-111-111", "mask": "000-000-000", "stage_blocks": [3, 3, 3]',
        '"mask": "111-111-111", "stage_blocks": [3, 3, 3], "accuracy": NaN',
        '"mask": "111-111-111", "stage_blocks": [3, 3, 3], "accuracy": 1e999',
    ],
    ids=['twice', 'nan', 'infinity'],
)
def test_a_mask_file_that_other_readers_would_read_otherwise_is_refused(
    tmp_path, entries
):
    path = tmp_path / 'mask.json'
    path.write_text(f'{{{entries}}}')
    refused(path)


@pytest.mark.parametrize('network', ['a\nb' * 9, 'x' * 10**5, {'a': 1}, '\x1b[2J'])
def test_what_a_mask_file_says_of_its_network_stays_in_one_line(tmp_path, network):
    path = tmp_path / 'mask.json'
    Mask.parse('all', (2, 2)).to_file(path, network=network)
    refused(path)
    with pytest.warns(UserWarning) as caught:
        Mask.parse(path, (2, 2), 'ResNet')
    assert str(caught[0].message).isprintable() and len(str(caught[0].message)) < LIMIT


def test_notes_too_deep_to_write_are_one_line(tmp_path):
    deep = []
    for _ in range(10**4):
        deep = [deep]
    with pytest.raises(EANError, match='cannot be written'):
        Mask.parse('all', (2, 2)).to_file(tmp_path / 'mask.json', notes=deep)
