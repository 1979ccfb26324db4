"""What is read of effects from a mask file, and how it is said."""

import copy
import json

import pytest
from effects_samples import FULL, effects_lines, entry
from hypothesis import given, settings
from hypothesis import strategies as st

from ean_mm import EANError
from ean_mm.effects import read_effects, words


def headline(*verdicts, **facts):
    return words.headline(read_effects(entry(*verdicts, **facts)))


@pytest.mark.parametrize(
    'verdicts, stages, text',
    [
        ('+-??', (2, 2), 'Attention helps in block 1 of stage 1; it hurts in block 2 '
         'of stage 1; for the other 2 blocks, 40 trainings cannot tell.'),
        ('++-?', (2, 2), 'Attention helps in all of stage 1; it hurts in block 1 of '
         'stage 2; for the other block, 40 trainings cannot tell.'),
        ('-+', (1, 1), 'Attention helps in stage 2; it hurts in stage 1.'),
        ('---?', (4,), 'Attention hurts in blocks 1 to 3 of stage 1; for the other '
         'block, 40 trainings cannot tell.'),
        ('+?++', (4,), 'Attention helps in blocks 1, 3 and 4 of stage 1; for the other '
         'block, 40 trainings cannot tell.'),
        ('+?' * 9, (18,), 'Attention helps in 9 of the 18 blocks, most in stage 1 '
         'block 1; for the other 9 blocks, 40 trainings cannot tell.'),
    ],
)  # fmt: skip
def test_the_headline_says_where_attention_helps_and_where_it_hurts(
    verdicts, stages, text
):
    assert headline(verdicts, stages=stages) == text


def test_what_does_not_tell_blocks_apart_says_so_and_nothing_else():
    text = headline('+-??', tells_apart=False)
    assert (
        text == '40 trainings do not tell the blocks apart: what follows may be chance.'
    )


def test_without_a_word_of_it_the_intervals_say_whether_blocks_are_told_apart():
    assert read_effects(entry('+?')).tells_apart
    assert not read_effects(entry('??')).tells_apart


def test_effects_in_a_supernet_are_called_that():
    text = headline('+-??', budget=None, judgements=300)
    assert text.startswith('In the supernet, attention helps in')
    assert text.endswith('300 judgements cannot tell.')
    known = read_effects(entry('+', budget=None))
    assert words.conditions(known) == (
        'Points of accuracy/top1 in the supernet, not the accuracy of a trained '
        'network.'
    )
    known = read_effects(entry('+', budget=None, metric='mIoU'))
    assert 'not the mIoU of a trained network' in words.conditions(known)


@pytest.mark.parametrize(
    'measure, name', [('loss', '-100 x loss'), ('train_loss', '-100 x training loss')]
)
def test_losses_are_not_called_points_of_the_metric(measure, name):
    known = read_effects(entry('+', measure=measure))
    assert words.unit(known) == name
    assert 'not points of accuracy/top1' in words.conditions(known)


def test_no_probability_is_a_certainty():
    said = [
        words.gains(
            read_effects(
                entry(
                    '+?',
                    recommended=dict(
                        over_none=dict(gain=1, low=0, high=2, probability=probability)
                    ),
                )
            )
        )[0][2]
        for probability in (1.0, 0.997, 0.004, 0.5)
    ]
    chances = ['over 99 %', 'over 99 %', 'under 1 %', '50 %']
    assert said == [f'{chance} likely to be better' for chance in chances]


def test_a_mask_gains_nothing_over_itself():
    gain = dict(gain=0, low=0, high=0, probability=0)
    facts = dict(mask=dict(backbone='00-00'), over_none=gain, over_all=gain)
    none, everywhere = words.gains(read_effects(entry('??-?', recommended=facts)))
    assert none[1:] == ('0.00', 'the mask itself')
    assert everywhere[2] == 'under 1 % likely to be better'


def test_a_recommendation_names_blocks_and_says_how_sure_it_is():
    assert words.recommendation(read_effects(FULL)) == (
        'Recommended: attention in block 1 of stage 1.\n'
        'How sure: +1.00 (+0.50 to +1.50) over no attention, over 99 % likely to be '
        'better.'
    )
    none = dict(FULL['recommended'], mask=dict(backbone='00-00'))
    unsure = dict(FULL, tells_apart=False, recommended=none)
    assert words.recommendation(read_effects(unsure)) == (
        'Recommended: attention in no block.\n'
        'How sure: +0.80 (-0.40 to +2.00) over full attention, 90 % likely to be '
        'better; 40 trainings do not tell single blocks apart.'
    )


def test_a_model_that_explains_nothing_is_not_said_to_explain_less():
    known = read_effects(entry('??', explained=-0.4))
    assert words.certainty(known) == [
        ('explained', '0 %', 'nothing of how masks differ')
    ]


def test_the_lines_of_an_ascii_terminal_have_a_row_a_block(monkeypatch):
    monkeypatch.setenv('FORCE_COLOR', '1')
    lines = effects_lines(FULL)
    assert ''.join(lines).isascii() and max(map(len, lines)) <= 80
    assert lines[0].startswith('Attention helps in block 1 of stage 1; it hurts')
    # 28 cells are left for -1.5 to 1.5, so that 0 is in the middle and 1 is 9 cells.
    rows = """
                     effect   95 % interval  -1.5          0         +1.5
stage 1  block 1  #   +1.00  +0.50 to +1.50                |   ----o-----  helps
         block 2  .   +0.20  -0.30 to +0.70             ---|o-----
stage 2  block 1  .   -1.00  -1.50 to -0.50  ----o-----    |               hurts
         block 2  .   +0.20  -0.30 to +0.70             ---|o-----
"""
    assert lines[4:9] == rows.splitlines()[1:]


def test_what_is_not_there_is_left_out():
    lines = effects_lines(dict(blocks=entry('+?')['blocks']))
    text = '\n'.join(lines)
    for word in ('None', 'nan', 'recommended', 'pairs', 'noise', 'explained', '#'):
        assert word not in text


@pytest.mark.parametrize(
    'change, reason',
    [
        (lambda e: e.pop('blocks'), "'blocks' is no list"),
        (lambda e: e.update(blocks=[]), "'blocks' is empty"),
        (lambda e: e.update(blocks=[1]), "an entry of 'blocks' is no dict"),
        (lambda e: e.update(blocks=e['blocks'] * 3000), 'at most 10,000 entries'),
        (lambda e: e.update(blocks=e['blocks'] * 2), 'not in the order'),
        (lambda e: e['blocks'].pop(0), 'not in the order'),
        (lambda e: e['blocks'].reverse(), 'not in the order'),
        (lambda e: e['blocks'][0].update(module='a\nb'), 'not named by module'),
        (lambda e: e['blocks'][0].update(module='x' * 99), 'not named by module'),
        (lambda e: e['blocks'][1].update(block=True), 'not named by module'),
        (lambda e: e['blocks'][1].update(module='neck'), 'not in the order'),
        (lambda e: e['blocks'][0].update(low=2), "not between its 'low' and 'high'"),
        (lambda e: e['blocks'][0].pop('high'), "not between its 'low' and 'high'"),
        (lambda e: e['blocks'][0].update(effect=float('nan')), "'effect' is no number"),
        (lambda e: e['blocks'][0].update(high=10**400), "'high' is no number"),
        (lambda e: e['blocks'][0].update(low='0'), "'low' is no number"),
        (lambda e: e.update(measure='hope'), "'measure' is none of"),
        (lambda e: e.update(metric=['m']), "'metric' is no name"),
        (lambda e: e.update(budget=-1), "'budget' is no whole number"),
        (lambda e: e.update(judgements=2.5), "'judgements' is no whole number"),
        (lambda e: e.update(noise=-1), "'noise' is no number"),
        (lambda e: e.update(explained=1.5), "'explained' is no number"),
        (lambda e: e.update(tells_apart='yes'), 'neither true nor false'),
        (lambda e: e.update(pairs=[dict(blocks=[])]), 'not of two blocks'),
        (lambda e: e['pairs'][0].update(blocks=[['neck', 1, 1], ['backbone', 1, 1]]),
         "blocks that are not in 'blocks'"),
        (lambda e: e.update(pairs=e['pairs'] * 101), 'at most 100 entries'),
        (lambda e: e.update(recommended=[1]), "'recommended' is no dict"),
        (lambda e: e['recommended'].update(mask='10-00'), 'is no dict'),
        (lambda e: e['recommended'].update(mask=dict(neck='10-00')), 'other modules'),
        (lambda e: e['recommended'].update(mask=dict(backbone='10-0')), 'does not fit'),
        (lambda e: e['recommended'].update(mask=dict(backbone='/etc/passwd')),
         'is not bits'),
        (lambda e: e['recommended'].update(over_none=1), "'over_none' is no dict"),
        (lambda e: e['recommended']['over_all'].update(probability=2),
         "'probability' is no number"),
    ],
)  # fmt: skip
def test_what_no_search_writes_is_refused_by_one_line(change, reason):
    facts = copy.deepcopy(FULL)
    change(facts)
    with pytest.raises(EANError) as caught:
        read_effects(facts, 'mask.json')
    text = str(caught.value)
    assert text.startswith('the effects in mask.json cannot be read: ')
    assert reason in text and text.isprintable() and len(text) < 200


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(['mask', 'gain', 'low', 'backbone']), inner),
    max_leaves=6,
)


def places(facts, path=()):
    """The paths of all values in JSON."""
    if isinstance(facts, dict):
        items = facts.items()
    elif isinstance(facts, list):
        items = enumerate(facts)
    else:
        items = ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(list(places(FULL))), values)
def test_any_value_in_any_place_is_shown_or_refused_by_one_line(path, value):
    facts = json.loads(json.dumps(FULL))
    inner = facts
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    try:
        lines = effects_lines(facts)
    except EANError as error:
        assert str(error).isprintable() and len(str(error)) < 200
    else:
        assert all(line.isprintable() for line in lines)
