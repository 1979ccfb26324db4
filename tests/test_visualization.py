import io
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from ean_mm import Mask, RichProgressHook
from ean_mm.visualization import draw_mask


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
