import io

from matplotlib.figure import Figure

from ean_mm import Mask
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


def test_attention_of_stages_of_one_block_does_not_overlap():
    ax = draw(Mask.parse('1-0-1', (1, 1, 1)))
    boxes = [patch.get_bbox() for patch in ax.patches if patch.get_y() > 1]
    assert len(boxes) == 3
    assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:]))
    assert ax.get_xlim()[0] < boxes[0].x0 and boxes[-1].x1 < ax.get_xlim()[1]
