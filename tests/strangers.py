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
