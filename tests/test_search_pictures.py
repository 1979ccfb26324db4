"""The pictures of a search: trade-off, progress, probabilities, curves, effects."""

from effects_samples import FULL
from searched import write_history

from ean_mm import Mask
from ean_mm.effects import read_effects
from ean_mm.visualization import progress_plot, training_plot
from ean_mm.visualization.effects_plot import VERDICTS, draw_effects
from ean_mm.visualization.mask_plot import draw_masks
from ean_mm.visualization.probability_plot import draw_probabilities
from ean_mm.visualization.report import read_search
from ean_mm.visualization.style import PLUGGED
from ean_mm.visualization.trade_off_plot import draw_trade_off, pareto_front


def test_the_pareto_front_is_what_nothing_cheaper_beats():
    #         0  1  2  3  4  5  6
    costs = [3, 1, 2, 2, 4, 3, 5]
    values = [7, 5, 4, 6, 9, 7, 9]
    assert pareto_front(costs, values) == [1, 3, 0, 4]


def test_the_trade_off_marks_the_mask_and_names_its_axes():
    ax = draw_trade_off(
        [2, 1, 0], [60.0, 61.0, 50.0], 1, 'blocks with attention', 'accuracy/top1, %'
    ).axes[0]
    assert ax.get_xlabel() == 'blocks with attention'
    assert ax.get_ylabel() == 'accuracy/top1, %'
    front, marked = ax.lines[0].get_xydata(), ax.collections[-1].get_offsets()
    assert front.tolist() == [[0, 50], [1, 61]]
    assert marked.tolist() == [[1, 61]]


def test_the_progress_has_the_mean_of_a_step_and_the_best_mask_until_then(tmp_path):
    steps = [[('01', 50.0, 50.0), ('00', 48.0, 52.0)], [('11', 60.0, 51.0)]]
    write_history(tmp_path, *steps)
    figure = progress_plot.draw_progress(read_search(tmp_path).records, 'mIoU')
    reward, metric = figure.axes
    assert [list(line.get_ydata()) for line in reward.lines] == [
        [51, 51], [52, 52]]  # fmt: skip
    # The metric of the mask with the best reward, though another has a higher one.
    assert [list(line.get_ydata()) for line in metric.lines] == [
        [49, 60], [48, 48]]  # fmt: skip
    assert (reward.get_ylabel(), metric.get_ylabel()) == ('reward', 'mIoU, %')


def test_the_heat_map_parts_stages_and_modules():
    records = [
        dict(step=0, probabilities=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
        dict(step=1, probabilities=None),
    ]
    blocks = dict(backbone=(2, 1, 1), neck=(2,))
    *maps, _ = draw_probabilities(records, blocks).axes
    drawn = [ax.collections[0].get_array() for ax in maps]
    assert drawn[0][:, 0].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert drawn[1][:, 0].tolist() == [0.5, 0.6]
    assert all(array.mask[:, 1].all() for array in drawn)  # nothing known of step 1
    assert [[line.get_ydata()[0] for line in ax.lines] for ax in maps] == [
        [1.5, 2.5], []]  # fmt: skip
    assert [ax.get_title(loc='left') for ax in maps] == ['backbone', 'neck']
    assert [text.get_text() for text in maps[0].texts] == [
        'stage 1', 'stage 2', 'stage 3']  # fmt: skip


def test_a_long_network_is_drawn_in_rows_whose_stages_count_on():
    mask = Mask.parse('all', (3, 4, 23, 3))
    figure = draw_masks(dict(backbone=mask), dict(backbone='SE'))
    labels = [
        [text.get_text() for text in ax.texts if 'stage' in text.get_text()]
        for ax in figure.axes
    ]
    assert labels == [['stage 1', 'stage 2'], ['stage 3'], ['stage 4']]
    assert len({ax.get_xlim() for ax in figure.axes}) == 1


def test_blocks_are_drawn_with_their_names_a_very_long_stage_in_several_rows():
    names = [['stem.0'], [f'layer2.{i}' for i in range(47)], ['layer3.0', 'x' * 90]]
    mask = Mask((1, 0) * 25, (1, 47, 2), dict(blocks=names))
    figure = draw_masks(dict(backbone=mask), dict(backbone='SE'))
    rows = [
        [text.get_text() for text in ax.texts if text.get_rotation() == 90]
        for ax in figure.axes
    ]
    assert [len(row) for row in rows] == [1 + 16, 16, 15 + 2]
    drawn = [name for row in rows for name in row]
    assert drawn[:-1] == ['stem.0', *names[1], 'layer3.0']
    assert drawn[-1] == '…' + 'x' * 39
    bits = [
        t.get_text() for ax in figure.axes for t in ax.texts if t.get_text() in '01'
    ]
    assert ''.join(bits) == '10' * 25
    figure.draw_without_rendering()
    for ax in figure.axes:
        bottom = min(text.get_window_extent().y0 for text in ax.texts)
        assert bottom >= ax.get_window_extent().y0


def test_a_curve_stands_at_the_middles_of_the_parts_of_the_training():
    curves = [
        training_plot.LearningCurve([2.0, 1.0], 800, False, ''),
        training_plot.LearningCurve([2.0, 0.5], 800, False, 'chosen mask'),
        training_plot.LearningCurve([2.0, 1e6], 400, True, ''),
    ]
    ax = training_plot.draw_curves(curves).axes[0]
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert lines['other masks'] == [[200, 2], [600, 1]]
    assert lines['chosen mask'] == [[200, 2], [600, 0.5]]
    assert ax.get_ylim()[1] < 3  # what diverges leaves the others their height
    assert lines['training diverged'] == [[300, ax.get_ylim()[1]]]


def test_the_curve_of_a_shorter_training_ends_where_it_ended():
    curves = [
        training_plot.LearningCurve([3.0, 2.0, 1.0, 0.5], 800, False, ''),
        training_plot.LearningCurve([3.0], 300, False, 'stopped'),  # 100 more: no part
        training_plot.LearningCurve([3.0, 4.0], 800, True, 'diverged'),
    ]
    ax = training_plot.draw_curves(curves).axes[0]
    lines = {line.get_label(): line.get_xdata().tolist() for line in ax.lines}
    assert lines['other masks'] == [100, 300, 500, 700]
    assert lines['stopped'] == [100] and lines['diverged'] == [100, 300]


def test_a_dot_of_the_verdicts_colour_stands_for_each_block():
    ax = draw_effects(read_effects(FULL)).axes[0]
    dots = {
        container.lines[0].get_color(): container.lines[0].get_xydata().tolist()
        for container in ax.containers
    }
    assert dots == {
        VERDICTS[1][0]: [[0, 1.0]],
        VERDICTS[-1][0]: [[2, -1.0]],
        VERDICTS[0][0]: [[1, 0.2], [3, 0.2]],
    }
    bars = [
        bar[:, 1].round(6).tolist()
        for container in ax.containers
        for bar in container.lines[2][0].get_segments()
    ]
    assert sorted(bars) == [
        [-1.5, -0.5], [-0.3, 0.7], [-0.3, 0.7], [0.5, 1.5]]  # fmt: skip


def test_the_picture_of_effects_names_stages_and_marks_the_recommended_mask():
    ax = draw_effects(read_effects(FULL)).axes[0]
    assert [text.get_text() for text in ax.texts] == ['stage 1', 'stage 2']
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ['1', '2', '1', '2']
    assert ax.get_ylabel() == 'points of accuracy/top1\nthat attention brings'
    squares = {
        line.get_color(): line.get_xdata().tolist()
        for line in ax.lines
        if line.get_marker() == 's'
    }
    assert squares == {PLUGGED: [0], 'white': [1, 2, 3]}


def test_the_picture_of_effects_of_a_supernet_says_so():
    ax = draw_effects(read_effects(dict(FULL, budget=None))).axes[0]
    assert ax.get_ylabel().endswith('that attention brings in the supernet')
