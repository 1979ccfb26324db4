"""Mask files from strangers, as generated as the masks in test_strangers_masks.py."""

import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import strategies as st
from strangers import EXAMPLES, LIMIT, UNKNOWN, refuse, taken, try_all

from ean_mm import EANError, Mask

BLOCKS = (3, 4, 6, 3)
BITS = (1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 1)
ENTRIES = dict(mask='100-1011-010011-011', stage_blocks=[3, 4, 6, 3],
               sparsity=0.4375, num_connections=9, network='ResNet',
               attention=dict(type='SEAttention'), accuracy=76.5)  # fmt: skip

json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.text(max_size=40),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.text(max_size=5), inner, max_size=3),
    ),
    max_leaves=10,
)
names = st.text(max_size=9).filter(lambda name: name not in ENTRIES)


@st.composite
def whole(draw):
    """A mask file with other notes, or in another encoding of JSON's."""
    entries = {**ENTRIES, **draw(st.dictionaries(names, json_values))}
    entries['network'] = draw(json_values)
    text = json.dumps(entries, indent=draw(st.sampled_from([None, 2])))
    text = text.replace('76.5', draw(st.sampled_from(['-0', '1.5', '1e2', '[[[1]]]'])))
    encoding = st.sampled_from(['utf-8', 'utf-8-sig', 'utf-16', 'utf-32', 'utf-16-be'])
    return text.encode(draw(encoding))


@st.composite
def spoilt(draw):
    """A mask file with a mistake, which makes it none."""
    entries, text = dict(ENTRIES), json.dumps(ENTRIES)
    kind = draw(st.sampled_from(
        ['missing', 'mask', 'blocks', 'number', 'twice', 'nested', 'large', 'encoded']
    ))  # fmt: skip
    if kind == 'missing':
        entries.pop(draw(st.sampled_from(['mask', 'stage_blocks'])))
        text = json.dumps(entries)
    if kind == 'mask':
        entries['mask'] = draw(st.sampled_from(
            ['all', 'mask.json', '', '100-1011-010011-01', '2' * 16, 39579, [1] * 16]
        ))  # fmt: skip
        text = json.dumps(entries)
    if kind == 'blocks':
        entries['stage_blocks'] = draw(st.sampled_from(
            [[4, 3, 6, 3], [16], [3, 4, 6], [], 16, '3-4-6-3', [3, 4, 6.5, 3], None]
        ))  # fmt: skip
        text = json.dumps(entries)
    if kind == 'number':
        numbers = ['NaN', '-Infinity', '1e999', '1' * 5000, '07', '0x3', '']
        text = text.replace('76.5', draw(st.sampled_from(numbers)))
    if kind == 'twice':
        text = f'{text[:-1]}, "mask": "{draw(st.text("01-", max_size=20))}"}}'
    if kind == 'nested':
        start, end = draw(st.sampled_from(['[]', ('{"a":', '}'), ('[', '')]))
        nested = f'{start * 100_000}1{end * 100_000}'
        text = draw(st.sampled_from([nested, text.replace('76.5', nested)]))
    if kind == 'large':
        text += draw(st.sampled_from(' 1\n\0[')) * (1 << 20)
    return text.encode('cp500' if kind == 'encoded' else 'utf-8')


@st.composite
def scrambled(draw):
    """A mask file of which bytes or entries are others; perhaps still one."""
    entries = dict(ENTRIES)
    if draw(st.booleans()):
        entries[draw(st.sampled_from(['mask', 'stage_blocks']))] = draw(json_values)
    content = bytearray(json.dumps(entries), 'utf-8', 'surrogatepass')
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        end = draw(st.sampled_from([at, at + 1, at + 9, len(content)]))
        content[at:end] = draw(st.one_of(
            st.binary(max_size=3), st.sampled_from(list(map(str.encode, '01",:[{')))
        ))  # fmt: skip
    return bytes(content)


files = st.one_of(
    st.tuples(whole(), st.just(BITS)),
    st.tuples(spoilt(), st.none()),
    st.tuples(scrambled() | st.binary(max_size=200), st.just(UNKNOWN)),
)


@pytest.mark.parametrize('examples', EXAMPLES)
def test_a_mask_file_is_read_or_refused_by_one_line(
    examples, tmp_path, record_property
):
    path = tmp_path / 'mask.json'

    def test(example):
        content, bits = example
        path.write_bytes(content)
        outcome = taken(lambda: Mask.parse(path, BLOCKS, 'ResNet'), bits)
        if outcome == 'read':
            mask = Mask.from_file(path)
            mask.to_file(path)
            again = Mask.from_file(path)
            assert (again, again.info) == (mask, mask.info)
        return outcome

    seen = try_all(files, test, examples)
    assert min(seen['read'], seen['refused']) > examples / 20
    record_property(
        'counted',
        f'{seen["refused"]:,} mask files were refused by one line, '
        f'{seen["read"]:,} read',
    )


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
            refuse(path)
            assert taken(lambda: Mask.from_file(path)) == 'refused'  # noqa: B023


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
    refuse(path)


@pytest.mark.parametrize('network', ['a\nb' * 9, 'x' * 10**5, {'a': 1}, '\x1b[2J'])
def test_what_a_mask_file_says_of_its_network_stays_in_one_line(tmp_path, network):
    path = tmp_path / 'mask.json'
    Mask.parse('all', (2, 2)).to_file(path, network=network)
    refuse(path)
    with pytest.warns(UserWarning) as caught:
        Mask.parse(path, (2, 2), 'ResNet')
    assert str(caught[0].message).isprintable() and len(str(caught[0].message)) < LIMIT


def test_notes_too_deep_to_write_are_one_line(tmp_path):
    deep = []
    for _ in range(10**4):
        deep = [deep]
    with pytest.raises(EANError, match='cannot be written'):
        Mask.parse('all', (2, 2)).to_file(tmp_path / 'mask.json', notes=deep)
