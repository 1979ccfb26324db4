"""Masks from strangers: 10,000 generated ones, files among them, in the slow suite.

Each is either refused by one line or read as what an independent reading of it says.
"""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from strangers import (
    EXAMPLES,
    anything,
    atoms,
    bits_of_text,
    check,
    is_number,
    numbers,
    run,
    summary,  # noqa: F401
)

from ean_mm import Mask

STAGES = [(3, 4, 6, 3), (3, 3, 3), (1,), (2, 2), (5_000, 5_000)]


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


# What was found so, each by name


def refused(value, blocks=(3, 3, 3)):
    check('bad masks', lambda: Mask.parse(value, blocks), None)


def test_an_array_without_elements_does_not_become_a_billion_lists():
    refused(np.empty((10**9, 0)))
    refused(torch.empty((10**9, 0)))


def test_a_short_list_that_names_one_long_list_often_is_not_copied():
    refused([[0] * 10**5] * 10**5)
