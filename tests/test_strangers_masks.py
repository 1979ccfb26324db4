"""Masks from strangers: 10,000 generated ones, files among them, in the slow suite.

What is a mask is read as its bits, however it is written; what is none is refused by
one line; and what may be one by chance is one of the two.
"""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from strangers import (
    EXAMPLES,
    UNKNOWN,
    anything,
    atoms,
    numbers,
    refuse,
    taken,
    try_all,
)

from ean_mm import Mask

STAGES = [(3, 4, 6, 3), (3, 3, 3), (1,), (2, 2), (5_000, 5_000)]
FORMS = {
    'text': lambda stages: '-'.join(''.join(map(str, stage)) for stage in stages),
    'bits': lambda stages: list(itertools.chain(*stages)),
    'stages': lambda stages: [list(stage) for stage in stages],
    'decimals': lambda stages: [int(''.join(map(str, s)), 2) for s in stages],
}
"""a mask's bits by stage, as people write them"""


@st.composite
def bits_by_stage(draw, blocks):
    """The bits of a mask, a list a stage."""
    bits = st.integers(0, 1)
    return [draw(st.lists(bits, min_size=n, max_size=n)) for n in blocks]


@st.composite
def whole(draw, blocks):
    """A mask in one of its forms, and its bits."""
    stages = draw(bits_by_stage(blocks))
    bits = list(itertools.chain(*stages))
    form = draw(st.sampled_from([*FORMS, 'spaced', 'array', 'tensor', 'word']))
    if form == 'word':
        word = draw(st.sampled_from(['all', 'none', ' all\n']))
        return word, [int('all' in word)] * len(bits)
    if form == 'spaced':
        separators = st.text('-,_| \t\n', max_size=3)
        text = ''.join(f'{bit}{draw(separators)}' for bit in bits)
        return draw(st.sampled_from(['', ' ', '\n\t'])) + text, bits
    if form == 'array':
        kind = draw(st.sampled_from(['?', 'i1', 'u8', 'i8', 'O']))
        return np.array(bits, kind), bits
    if form == 'tensor':
        kind = draw(st.sampled_from([torch.bool, torch.uint8, torch.int64]))
        return torch.tensor(bits, dtype=kind), bits
    value = FORMS[form](stages)
    if form != 'text':
        value = draw(st.sampled_from([list, tuple]))(value)
    return value, bits


@st.composite
def spoilt(draw, blocks):
    """A mask with a mistake, which is none in any form."""
    stages = draw(bits_by_stage(blocks))
    form = draw(st.sampled_from([*FORMS]))
    mistake = draw(st.sampled_from(['more', 'fewer', 'other']))
    other = draw(st.sampled_from([2, 0.5, None, 'x']))
    if form == 'decimals':
        codes = FORMS[form](stages)
        at = draw(st.integers(0, len(codes) - 1))
        if mistake == 'other':
            codes[at] = {2: 1 << blocks[at]}.get(other, other)
        return dict(more=[*codes, 0], fewer=codes[:-1], other=codes)[mistake]
    stage = draw(st.sampled_from(stages))
    at = draw(st.integers(0, len(stage) - 1))
    stage[at : at + 1] = dict(more=[0, 0], fewer=[], other=[other])[mistake]
    return FORMS[form](stages)


@st.composite
def scrambled(draw, blocks):
    """A mask of which parts are dropped, replaced or inserted; perhaps still one."""
    form = draw(st.sampled_from([*FORMS]))
    value = list(FORMS[form](draw(bits_by_stage(blocks))))
    for _ in range(draw(st.integers(1, 3))):
        target = value
        if form == 'stages' and draw(st.booleans()):
            target = draw(
                st.sampled_from([v for v in value if type(v) is list] or [[]])
            )
        at = draw(st.integers(0, len(target)))
        kind = draw(st.sampled_from(['insert', 'replace', 'drop']))
        new = draw(st.characters() if form == 'text' else atoms)
        target[at : at + (kind != 'insert')] = [] if kind == 'drop' else [new]
    return ''.join(map(str, value)) if form == 'text' else value


LARGE = [
    lambda one: [one] * 10**6,
    lambda one: [[one] * 10**5] * 10**5,
    lambda one: itertools.repeat(one),
    lambda one: [[[one]]] * 3,
    lambda one: {one},
    lambda one: range(10**9),
    lambda one: bytes(10**6),
]
ODD = [
    lambda: np.zeros(16, 'f8'),
    lambda: np.zeros(16, 'c16'),
    lambda: np.zeros(16, 'S3'),
    lambda: np.zeros(16, 'i4,f4'),
    lambda: np.zeros((1,) * 30, 'i8'),
    lambda: np.zeros((4, 4), 'i8'),
    lambda: torch.ones(16, requires_grad=True),
]


@st.composite
def masks(draw):
    """What makes a value, the stages it is for, and the bits that it means."""
    kind = draw(st.sampled_from(
        ['whole', 'spoilt', 'scrambled', 'any', 'odd', 'large']
    ))  # fmt: skip
    blocks = draw(st.sampled_from(STAGES if kind == 'large' else STAGES[:-1]))
    if kind == 'large':
        make = draw(st.sampled_from(LARGE))
        one = draw(st.sampled_from([0, 2, True, 0.5, None, 'x']))
        return lambda: make(one), blocks, None
    if kind == 'odd':
        return draw(st.sampled_from(ODD)), blocks, None
    if kind == 'whole':
        value, bits = draw(whole(blocks))
        return lambda: value, blocks, bits
    if kind == 'spoilt':
        value = draw(spoilt(blocks))
        return lambda: value, blocks, None
    value = draw(scrambled(blocks) if kind == 'scrambled' else anything)
    return lambda: value, blocks, UNKNOWN


@pytest.mark.parametrize('examples', EXAMPLES)
def test_a_mask_is_read_or_refused_by_one_line(
    examples, tmp_path, monkeypatch, record_property
):
    monkeypatch.chdir(tmp_path)

    def test(example):
        make, blocks, bits = example
        value = make()
        return taken(lambda: Mask.parse(value, blocks, 'ResNet'), bits)

    seen = try_all(masks(), test, examples)
    assert min(seen['read'], seen['refused']) > examples / 20
    record_property(
        'counted',
        f'{seen["refused"]:,} masks were refused by one line, {seen["read"]:,} read',
    )


@st.composite
def stage_blocks(draw):
    """Numbers of blocks in each stage, and how many there are in all."""
    kind = draw(st.sampled_from(['whole', 'spoilt', 'any']))
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=9))
    if kind == 'whole':
        return draw(st.sampled_from([list, tuple]))(sizes), [1] * sum(sizes)
    if kind == 'any':
        return draw(st.one_of(anything, st.lists(numbers))), UNKNOWN
    one = draw(st.sampled_from([0, -1, 0.5, None, '3', 10**4, 10**4000]))
    others = [[*sizes, one], [], set(sizes), 'all', [1] * 10**6, [5_000] * 3]
    return draw(st.sampled_from(others)), None


@pytest.mark.parametrize('examples', [200])
def test_stage_blocks_are_read_or_refused_by_one_line(examples):
    def test(example):
        blocks, bits = example
        return taken(lambda: Mask.parse('all', blocks), bits)

    try_all(stage_blocks(), test, examples)


def test_a_short_list_that_names_one_long_list_often_is_not_copied():
    refuse([[0] * 10**5] * 10**5)
