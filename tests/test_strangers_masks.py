"""Masks and mask files from strangers: 10,000 generated ones in the slow suite.

Each is either refused by one line or read as what an independent reading of it says.
"""

import itertools
import json
import os
import signal
import socket
import string
import tracemalloc
import warnings
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ean_mm import EANError, Mask

STAGES = [(3, 4, 6, 3), (3, 3, 3), (1,), (2, 2), (5_000, 5_000)]
LIMIT = 1000
"""characters of a message"""
MEMORY = 64 << 20
"""bytes that an example may take"""
EXAMPLES = [250, pytest.param(6_500, marks=pytest.mark.slow)]

counts = Counter()


@pytest.fixture(scope='module', autouse=True)
def summary(request):
    """Print how many there were, whatever pytest captures."""
    yield
    capture = request.config.pluginmanager.getplugin('capturemanager')
    with capture.global_and_fixture_disabled():
        print(
            f'\n{counts["bad masks"]:,} bad masks and {counts["bad files"]:,} bad mask '
            f'files were refused by one line, {counts["valid"]:,} valid ones read; '
            f'{counts["tried"] - counts["right"]} wrong outcomes'
        )


class Hang(BaseException):
    """No ``except Exception`` stops it."""


@contextmanager
def guarded():
    """Stop what hangs or allocates without bounds."""

    def stop(number, frame):
        raise Hang

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(30)
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] - before < MEMORY
    finally:
        if started:
            tracemalloc.stop()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def check(kind, read, expected):
    """Compare an outcome with the bits that are expected, None for a refusal."""
    counts['tried'] += 1
    try:
        with guarded(), warnings.catch_warnings(record=True):
            mask = read()
    except EANError as error:
        text = str(error)
        assert expected is None, f'refused: {text}'
        assert text and text.isprintable() and len(text) <= LIMIT
        counts[kind] += 1
    else:
        assert expected is not None, f'read as {str(mask)[:80]}'
        assert mask.bits == tuple(expected)
        assert Mask.parse(str(mask), mask.stage_blocks) == mask
        counts['valid'] += 1
    counts['right'] += 1


def run(strategy, test, examples):
    """Try a test on so many examples of a strategy."""
    limits = settings(
        max_examples=examples,
        deadline=None,  # what hangs is stopped above
        derandomize=True,  # CI fails for what a change has broken
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    limits(given(strategy)(test))()


# What is meant, read in another way than the package does


def is_number(value):
    return isinstance(value, int)


def bits_of_text(text, blocks):
    text = text.strip()
    if text in ('all', 'none'):
        return [int(text == 'all')] * sum(blocks)
    digits = [c for c in text if not c.isspace() and c not in ',_|-']
    if text[:1] in ('0', '1') and set(digits) <= {'0', '1'}:
        if len(digits) == sum(blocks):
            return list(map(int, digits))
    return None


def bits_of_list(values, blocks):
    if all(map(is_number, values)):
        if len(values) == sum(blocks) and set(values) <= {0, 1}:
            return list(map(int, values))
        if len(values) == len(blocks):
            if all(0 <= value < 2**n for value, n in zip(values, blocks)):
                text = ''.join(f'{int(v):b}'.zfill(n) for v, n in zip(values, blocks))
                return list(map(int, text))
        return None
    if not all(isinstance(stage, (list, tuple)) for stage in values):
        return None
    bits = [bit for stage in values for bit in stage]
    fits = [len(stage) for stage in values] == list(blocks)
    if fits and all(map(is_number, bits)) and set(bits) <= {0, 1}:
        return list(map(int, bits))
    return None


def meaning(value, blocks):
    if isinstance(value, str):
        return bits_of_text(value, blocks)
    if isinstance(value, (list, tuple)):
        return bits_of_list(value, blocks)
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuO':
        if value.ndim and max(value.shape) < 99:
            return bits_of_list(value.tolist(), blocks)
    return None


# What strangers may give

numbers = st.one_of(
    st.integers(-2, 40),
    st.integers(),
    st.sampled_from([63, 64, 5000]).map(lambda digits: 10**digits),
    st.booleans(),
    st.floats(),
    st.complex_numbers(),
    st.fractions(),
    st.decimals(),
)
paths = st.sampled_from(
    ['.', '..', '/', '~', '~nobody/x.json', '/dev/zero', '/dev/stdin', '/proc/self/mem',
     '/proc/self/environ', '/etc/passwd', 'x' * 5000, 'x/' * 3000 + '.json', '\0.json',
     'a\nb.json', '\x1b[2J.json', '\ud800.json', '{}.json', '%s.json', '$HOME',
     'nowhere.json', 'masks', 'masks/', '../ean_mm/mask.py', 'C:\\mask.json',
     'file:///etc/passwd', 'https://example.org/mask.json', "__import__('os')"]
)  # fmt: skip
texts = st.one_of(
    st.text(max_size=40),
    st.text(alphabet='01 ,_|-\t\n\u00a0\u3000\x1c٠１²x', max_size=60),
    st.text(alphabet=st.characters(), max_size=10).map(lambda text: f'{text}.json'),
    st.text(alphabet=string.printable, max_size=20),
    st.sampled_from(['0' * 10**6, '01' * 10**6, ' ' * 2 * 10**6, 'ALL', 'None', '']),
    paths,
)
atoms = st.one_of(
    numbers, texts, st.none(), st.binary(max_size=40), st.dates(), st.uuids()
)
anything = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=17),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=25,
)


@st.composite
def nearly_valid(draw, blocks):
    """A mask in one of its forms, with a few mistakes or none."""
    bits = draw(st.lists(st.sampled_from([0, 1]), min_size=sum(blocks),
                         max_size=sum(blocks)))  # fmt: skip
    rest = iter(bits)
    stages = [[next(rest) for _ in range(n)] for n in blocks]
    form = draw(st.sampled_from(['bits', 'stages', 'decimals', 'text']))
    if form == 'text':
        value = list(draw(st.sampled_from(['-', ' ', '', '\n', ';'])).join(
            ''.join(map(str, stage)) for stage in stages))  # fmt: skip
    else:
        value = dict(
            bits=bits,
            stages=list(stages),
            decimals=[int(''.join(map(str, stage)), 2) for stage in stages],
        )[form]
    for _ in range(draw(st.integers(0, 3))):
        target = value
        if form == 'stages' and draw(st.booleans()):
            target = draw(st.sampled_from(stages))
        at = draw(st.integers(0, len(target)))
        kind = draw(st.sampled_from(['insert', 'replace', 'drop']))
        new = draw(st.characters() if form == 'text' else atoms)
        target[at : at + (kind != 'insert')] = [] if kind == 'drop' else [new]
    return ''.join(map(str, value)) if form == 'text' else value


@st.composite
def arrays(draw):
    kind = draw(st.sampled_from(
        ['?', 'i1', 'u8', 'i8', 'f2', 'f8', 'c16', 'S3', 'U3', 'V4', 'O', 'i4,f4']
    ))  # fmt: skip
    shape = draw(st.sampled_from(
        [(), (0,), (1,), (3,), (4,), (9,), (16,), (17,), (3, 3), (4, 4), (1, 16),
         (0, 10**9), (10**9, 0), (1,) * 30, (2,) * 6, (10**5,), (10**6, 10**6)]
    ))  # fmt: skip
    array = np.broadcast_to(np.zeros((), kind), shape)
    if array.size < 100 and kind in ('?', 'i1', 'u8', 'i8'):
        values = st.integers(0, 2 if kind != '?' else 1)
        array = np.array(draw(st.lists(values, min_size=array.size,
                                       max_size=array.size)), kind)  # fmt: skip
        array = array.reshape(shape)
    return array


@st.composite
def tensors(draw):
    """Tensors that are no mask of any network here: no integers, no values, no fit."""
    shape = draw(st.sampled_from([(), (0,), (5,), (3, 3), (10**9, 0), (0, 10**9)]))
    kind = draw(st.sampled_from(
        [torch.float32, torch.float16, torch.bfloat16, torch.complex64,
         torch.float8_e4m3fn]
    ))  # fmt: skip
    return draw(st.sampled_from([
        lambda: torch.empty(shape, dtype=kind),
        lambda: torch.empty(shape, dtype=torch.long, device='meta'),
        lambda: torch.zeros(1, dtype=torch.long).expand(10**12),
        lambda: torch.eye(4).long().to_sparse(),
        lambda: torch.eye(4).to_sparse_csr(),
        lambda: torch.quantize_per_tensor(torch.ones(16), 0.1, 0, torch.quint8),
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        lambda: torch.ones(16, requires_grad=True),
        lambda: torch.zeros(7, dtype=torch.long),
    ]))  # fmt: skip


@st.composite
def masks(draw):
    """What makes a value, the stages it is for, and the bits that it means."""
    kind = draw(st.sampled_from(['any', 'near', 'array', 'tensor', 'big']))
    blocks = draw(st.sampled_from(STAGES if kind == 'big' else STAGES[:-1]))
    if kind == 'big':
        one = draw(st.sampled_from([0, 2, True, 0.5, None, 'x']))
        return draw(st.sampled_from([
            lambda: [one] * 10**6,
            lambda: [[one] * 10**5] * 10**5,
            lambda: itertools.repeat(one),
            lambda: [[[one]]] * 3,
            lambda: {one},
            lambda: range(10**9),
            lambda: bytes(10**6),
        ])), blocks, None  # fmt: skip
    if kind == 'tensor':
        return draw(tensors()), blocks, None
    strategies = dict(any=anything, near=nearly_valid(blocks), array=arrays())
    value = draw(strategies[kind])
    return lambda: value, blocks, meaning(value, blocks)


@pytest.mark.parametrize('examples', EXAMPLES)
def test_a_mask_is_read_or_refused_by_one_line(examples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def test(example):
        make, blocks, expected = example
        value = make()
        check('bad masks', lambda: Mask.parse(value, blocks, 'ResNet'), expected)

    run(masks(), test, examples)


@pytest.mark.parametrize('examples', [200])
def test_stage_blocks_are_read_or_refused_by_one_line(examples):
    def test(blocks):
        valid = (
            type(blocks) in (list, tuple)
            and len(blocks) > 0
            and all(is_number(n) and 1 <= n <= 10_000 for n in blocks)
            and sum(blocks) <= 10_000
        )
        expected = [1] * sum(blocks) if valid else None
        check('bad masks', lambda: Mask.parse('all', blocks), expected)

    huge = st.sampled_from([[1] * 10**6, [10**4000], [5_000] * 3, 'all', {3}])
    plain = st.one_of(anything, huge, st.lists(numbers), st.tuples(st.integers(-1, 99)))
    run(plain, test, examples)


# Mask files


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


def test_an_array_without_elements_does_not_become_a_billion_lists():
    refused(np.empty((10**9, 0)))
    refused(torch.empty((10**9, 0)))


def test_a_short_list_that_names_one_long_list_often_is_not_copied():
    refused([[0] * 10**5] * 10**5)


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
