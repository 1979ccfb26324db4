import io
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from ean_mm import Mask, RichProgressHook
from ean_mm.visualization import draw_mask, draw_search


def draw(mask):
    ax = Figure().subplots()
    draw_mask(ax, mask, 'SE')
    return ax


def test_a_block_is_drawn_for_every_bit_and_a_line_for_every_connection():
    mask = Mask.parse('100-1011-010011-011', (3, 4, 6, 3))
    ax = draw(mask)
    assert len(ax.patches) == 16 + 4  # blocks and attention modules
    chain = 15
    assert len(ax.lines) == chain + mask.num_connections
    bits = [text.get_text() for text in ax.texts if text.get_text() in '01']
    assert ''.join(bits) == '1001011010011011'


def test_a_search_of_one_step_can_be_drawn():
    entry = dict(mask=dict(backbone='10-01'), reward=50.0)
    record = dict(
        step=0,
        masks=[entry] * 3,
        best=dict(mask=entry['mask'], reward=50.0),
        probabilities=[0.1, 0.5, 0.9, 0.3],
    )
    file = io.BytesIO()
    draw_search([record], Mask.parse('10-01', (2, 2)), 'SE').savefig(file, format='png')
    assert file.getvalue().startswith(b'\x89PNG')


def record(**facts):
    entry = dict(mask=dict(backbone='10-01'), reward=50.0, **facts)
    return dict(
        step=0,
        masks=[entry],
        best=dict(mask=entry['mask'], reward=50.0),
        probabilities=[0.5] * 4,
        known_share=0.0,
    )


@pytest.mark.parametrize(
    'facts, title',
    [
        ({}, 'Rewards in the supernet,\nnot the accuracy of a trained network'),
        (dict(budget=800), 'Rewards after 800 iterations of training'),
    ],
)
def test_the_picture_of_a_search_says_what_its_rewards_are_of(facts, title):
    figure = draw_search([record(**facts)], Mask.parse('10-01', (2, 2)), 'SE')
    assert title in [ax.get_title() for ax in figure.axes]


@pytest.mark.parametrize(
    'facts, text', [({}, 'supernet reward 50.00'), (dict(budget=800), 'reward 50.00')]
)
def test_the_progress_bar_does_not_call_a_supernets_reward_a_networks(facts, text):
    hook = RichProgressHook(console=Console(file=io.StringIO()))
    search = SimpleNamespace(
        searcher=SimpleNamespace(num_steps=4), evaluator=SimpleNamespace(budgets=())
    )
    hook.before_search(None, search)
    hook.after_search_step(None, record(**facts))
    assert hook.progress.tasks[0].fields['facts'].startswith(text)
    hook.after_run(None)


def test_attention_of_stages_of_one_block_does_not_overlap():
    ax = draw(Mask.parse('1-0-1', (1, 1, 1)))
    boxes = [patch.get_bbox() for patch in ax.patches if patch.get_y() > 1]
    assert len(boxes) == 3
    assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:]))
    assert ax.get_xlim()[0] < boxes[0].x0 and boxes[-1].x1 < ax.get_xlim()[1]
