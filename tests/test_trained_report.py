"""The report of a search that trained its masks, and of their effects."""

import dataclasses
import html
import json
import re
import shutil

import pytest
from effects_samples import FULL
from searched import judged, page_of, pictures, search, table, titles, write_trained

from ean_mm.effects import read_effects
from ean_mm.visualization import progress_plot
from ean_mm.visualization.report import page as report_page
from ean_mm.visualization.report import read_search, render_report


def text_of(page):
    return html.unescape(re.sub('<[^>]*>', ' ', page))


def head(page):
    return re.findall('<th>(.*?)</th>', page.partition('class="facts"')[0])


def test_effects_are_the_first_thing_on_the_page(tmp_path):
    write_trained(tmp_path, [judged('10-00', 70.0)], effects=FULL)
    page = page_of(tmp_path)
    assert html.unescape(titles(page)[0]) == "What each block's attention brings"
    assert (
        'Attention helps in block 1 of stage 1; it hurts in block 1 of stage 2; for '
        'the other 2 blocks, 40 trainings cannot tell.'
    ) in page.partition('<img')[0]
    assert 'Points of accuracy/top1 after 800 iterations of training.' in page
    assert re.findall('<dd>(.*?)</dd>', page)[:5] == [
        '+1.00 (+0.50 to +1.50)', '+0.80 (-0.40 to +2.00)', '62 %', '0.31',
        '85 more trainings']  # fmt: skip
    assert 'over 99 % likely to be better' in page
    assert 'stage 1 block 1 and stage 2 block 1</td><td>+0.40' in page


def test_a_page_without_effects_does_not_mention_them(tmp_path):
    write_trained(tmp_path, [judged('10-00', 70.0)])
    assert titles(page_of(tmp_path))[0] == 'The chosen mask'


def test_effects_that_may_be_chance_are_called_that_on_the_page(tmp_path):
    write_trained(
        tmp_path, [judged('10-00', 70.0)], effects=dict(FULL, tells_apart=False)
    )
    page = page_of(tmp_path)
    assert '<p class="lead">40 trainings do not tell the blocks apart' in page
    assert 'attention helps' not in page.lower()


@pytest.mark.parametrize(
    'effects, reason',
    [
        (dict(FULL, blocks='<script>'), 'cannot be read'),
        (dict(FULL, blocks=FULL['blocks'][:2], pairs=[], recommended={}),
         'are of another network'),
    ],
)  # fmt: skip
def test_the_page_says_why_it_cannot_show_effects(tmp_path, effects, reason):
    write_trained(tmp_path, [judged('10-00', 70.0)], effects=effects)
    page = page_of(tmp_path)
    assert f'the effects in mask_backbone.json {reason}' in page
    assert titles(page)[1] == 'The chosen mask' and '<script' not in page


def test_what_effects_name_is_escaped(tmp_path):
    evil = '<script>alert(1)</script>"&$x'
    text = json.dumps(dict(FULL, metric='EVIL')).replace('backbone', 'EVIL')
    effects = read_effects(json.loads(text.replace('"EVIL"', json.dumps(evil))))
    assert list(effects.stage_blocks) == [evil] and effects.metric == evil
    write_trained(tmp_path, [judged('10-00', 70.0)])
    read = dataclasses.replace(read_search(tmp_path), effects=effects)
    part = render_report(read).partition('</section>')[0]
    assert '<script' not in part and '&lt;script&gt;' in part
    assert len(pictures(part)) == 1  # $ is no formula in it


def test_numbers_of_a_supernet_are_marked_wherever_they_are(tmp_path):
    search(tmp_path)
    page = page_of(tmp_path)
    mark = 'in the supernet, not the accuracy of a trained network'
    assert f'Rewards and accuracy/top1 on this page were measured {mark}' in page
    assert f'<dd class="more">{mark}</dd>' in page
    captions = re.findall('<figcaption>(.*?)</figcaption>', page)
    assert [mark in caption for caption in captions] == [False, True, False, True]
    assert 'accuracy/top1 in the supernet, %' in head(page)


def test_the_axes_of_a_supernets_numbers_say_so(tmp_path, monkeypatch):
    search(tmp_path)
    labels = []

    def spy(figure):
        labels.extend(ax.get_ylabel().replace('\n', ' ') for ax in figure.axes)
        return embed(figure)

    embed = report_page.embed
    monkeypatch.setattr(report_page, 'embed', spy)
    page_of(tmp_path)
    assert 'reward in the supernet' in labels
    assert labels.count('accuracy/top1 in the supernet, %') == 2


def test_numbers_of_trained_masks_say_after_how_many_iterations(tmp_path):
    write_trained(tmp_path, [judged('10-00', 70.0), judged('11-00', 69.0)])
    page = page_of(tmp_path)
    assert 'supernet' not in text_of(page)
    assert 'accuracy/top1 was measured after 800 iterations of training' in page
    assert head(page)[:5] == ['', 'mask', 'iterations of training', 'reward',
                              'accuracy/top1, %']  # fmt: skip
    best, cells = table(page)[0]
    assert best
    assert cells == ['1', '10-00', '800', '70.00', '69.00', '75.0 %', 'step 0', '1']


def test_masks_that_were_trained_for_longer_rank_above_the_others(tmp_path):
    a, b, c = '10-00', '01-00', '00-11'
    write_trained(
        tmp_path,
        [judged(a, 60.0, 200), judged(b, 61.0, 200), judged(c, 50.0, 200)],
        [judged(a, 68.0, 800), judged(b, 67.0, 800)],
        [judged(c, 62.0, 400)],
    )
    page = page_of(tmp_path)
    assert [cells[1:4] for _, cells in table(page)] == [
        [a, '800', '68.00'], [b, '800', '67.00'], [c, '400', '62.00']]  # fmt: skip
    assert 'after 200, 400 or 800 iterations of training' in page
    assert 'The 2 masks with the longest training.' in page  # in the trade-off
    figure = progress_plot.draw_progress(read_search(tmp_path).records)
    mean, best = (line.get_ydata() for line in figure.axes[0].lines)
    assert list(mean)[1] == 67.5 and list(best)[1:] == [68, 68]
    assert not any(value == value for value in (mean[0], mean[2], best[0]))  # unknown


def test_the_mask_that_a_searcher_recommends_need_not_have_the_best_reward(tmp_path):
    write_trained(
        tmp_path, [judged('11-00', 71.0), judged('10-00', 70.0)], chosen='10-00'
    )
    page = page_of(tmp_path)
    assert 'Finished' in page and '<dd>70.00</dd>' in page
    assert 'The highest reward is 71.00, of another mask' in page
    assert [best for best, _ in table(page)] == [False, True]


def test_the_chosen_mask_is_listed_whatever_its_rank(tmp_path):
    masks = [f'{number:04b}' for number in range(16)]
    write_trained(
        tmp_path,
        [judged(f'{bits[:2]}-{bits[2:]}', 50.0 + i) for i, bits in enumerate(masks)],
        chosen='00-00',
    )
    *_, (best, cells) = table(page_of(tmp_path))
    assert best and cells[:2] == ['16', '00-00']


def test_diverged_masks_are_marked_and_come_last(tmp_path):
    write_trained(
        tmp_path,
        [judged('10-00', 60.0), judged('11-00', 99.0, diverged=True)],
    )
    page = page_of(tmp_path)
    assert [cells[1] for _, cells in table(page)] == ['10-00', '11-00 diverged']
    assert '1 of the 2 masks diverged in training' in page
    reward = progress_plot.draw_progress(read_search(tmp_path).records).axes[0]
    assert [list(line.get_ydata()) for line in reward.lines] == [[60], [60]]
    assert 'training diverged' in reward.get_legend_handles_labels()[1]


def test_learning_curves_are_drawn_if_there_are_any(tmp_path):
    write_trained(
        tmp_path,
        [judged('10-00', 60.0, curve=[2.0, 1.0]), judged('11-00', 59.0)],
    )
    page = page_of(tmp_path)
    assert 'Learning curves' in titles(page) and 'training losses of 1 masks' in page
    shutil.rmtree(tmp_path / 'search')
    write_trained(tmp_path, [judged('10-00', 60.0)])
    assert 'Learning curves' not in titles(page_of(tmp_path))


@pytest.mark.parametrize(
    'curve',
    ['abc', 7, {}, [], [1, 'x'], [None, 1.0], [10**400], [1.0] * 10_001, [True]],
)
def test_a_curve_that_is_none_is_left_out(tmp_path, curve):
    write_trained(tmp_path, [judged('10-00', 60.0, curve=curve)])
    assert read_search(tmp_path).best.curve == ()


def test_a_budget_that_is_null_is_none(tmp_path):
    write_trained(tmp_path, [judged('10-00', 60.0, None)])
    assert 'in the supernet' in page_of(tmp_path)
