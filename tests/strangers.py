"""What strangers may give as a mask, and how it has to be taken."""

import signal
import string
import tracemalloc
import warnings
from collections import Counter
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ean_mm import EANError, Mask

LIMIT = 1000
"""characters of a message"""
MEMORY = 64 << 20
"""bytes that an example may take"""
EXAMPLES = [250, pytest.param(6_500, marks=pytest.mark.slow)]
UNKNOWN = object()
"""bits that are expected of what may be a mask by chance"""


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


def taken(read, bits=None):
    """Whether a mask was ``'read'``, or else ``'refused'`` by one line.

    Args:
        read: Reads it.
        bits: The bits that it has to be read as; None if it has to be refused;
            ``UNKNOWN`` if it may be either, and then means what its own text means.
    """
    try:
        with guarded(), warnings.catch_warnings(record=True):
            mask = read()
    except EANError as error:
        text = str(error)
        assert bits in (None, UNKNOWN), f'refused: {text}'
        assert text and text.isprintable() and len(text) <= LIMIT
        return 'refused'
    assert bits is not None, f'read as {str(mask)[:80]}'
    assert bits is UNKNOWN or mask.bits == tuple(bits)
    assert Mask.parse(str(mask), mask.stage_blocks) == mask
    return 'read'


def refuse(value, blocks=(3, 3, 3)):
    """Check that a value is refused as a mask, by one line."""
    assert taken(lambda: Mask.parse(value, blocks)) == 'refused'


def try_all(strategy, test, examples):
    """Try a test on so many examples; return how often it returned what."""
    outcomes = Counter()
    limits = settings(
        max_examples=examples,
        deadline=None,  # what hangs is stopped above
        derandomize=True,  # CI fails for what a change has broken
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    limits(given(strategy)(lambda example: outcomes.update([test(example)])))()
    return outcomes


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
    st.text(alphabet='01 ,_|-\t\n\u00a0\u3000\x1c٠١²x', max_size=60),
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
