"""The report of a search: what the page shows, and of which files."""

import base64
import dataclasses
import html
import json
import re
import runpy
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from effects_samples import FULL
from torch import nn

from ean_mm import EANError, Mask, RLController
from ean_mm.effects import StoredEffects
from ean_mm.search import MaskSearch, Reward, SearchSpace, SearchStorage
from ean_mm.search.evaluation.base import Measurement
from ean_mm.visualization import progress_plot, training_plot
from ean_mm.visualization.effects_plot import VERDICTS, draw_effects
from ean_mm.visualization.mask_plot import draw_masks
from ean_mm.visualization.probability_plot import draw_probabilities
from ean_mm.visualization.report import page as report_page
from ean_mm.visualization.report import read_search, render_report
from ean_mm.visualization.style import PLUGGED
from ean_mm.visualization.trade_off_plot import draw_trade_off, pareto_front


class Masked(nn.Module):
    """What a search needs of a masked module."""

    attention = dict(type='SEAttention', ratio=4)
    network = 'Toy-4'

    def __init__(self, *stage_blocks):
        super().__init__()
        self.stage_blocks = stage_blocks

    def set_mask(self, mask):
        self.mask = mask


class ToyEvaluator:
    """Every second block is worth a percent, the others cost one."""

    budgets = ()
    measure = 'metric'

    def begin(self):
        pass

    def judge(self, requests):
        return [
            Measurement({'accuracy/top1': 50.0 + sum(bits[::2]) - sum(bits[1::2])})
            for bits, _ in requests
        ]

    def fingerprint(self):
        return dict(weights='none')


class PolicyFreeSearcher:
    """A searcher of random masks, which learns nothing."""

    def __init__(self, space, probabilities):
        self.space = space
        self.generator = torch.Generator().manual_seed(0)
        self.num_steps, self.step, self.seed = 5, 0, 0
        self.probabilities = lambda: probabilities

    def ask(self):
        return [self.space.random(self.generator)]

    def tell(self, masks, rewards, metrics=None):
        self.step += 1
        return {}

    def mode(self):
        return (0,) * self.space.num_bits

    def describe(self):
        return {}

    def state_dict(self):
        return dict(step=self.step)


class Killed(Exception):
    pass


def search(
    work_dir, modules=None, searcher=None, num_steps=20, stop_after=None, write=True
):
    """Search, and write what a run writes; return the search."""
    space = SearchSpace(nn.ModuleDict(modules or dict(backbone=Masked(2, 2))))
    if searcher is None:
        searcher = RLController(
            space.num_bits, seed=3, preset='paper', num_steps=num_steps
        )
    elif callable(searcher):
        searcher = searcher(space)

    def on_step(record):
        if record['step'] + 1 == stop_after:
            raise Killed

    found = MaskSearch(
        space,
        searcher,
        ToyEvaluator(),
        Reward(),
        SearchStorage(work_dir / 'search'),
        on_step=on_step,
    )
    try:
        best = found.run()
    except Killed:
        return found
    for name, mask in space.split(best.bits).items() if write else ():
        mask.to_file(
            work_dir / f'mask_{name}.json',
            network='Toy-4',
            attention=dict(type='SEAttention', ratio=4),
            reward=best.reward,
            accuracy=best.metric,
            found_by=dict(
                searcher=type(searcher).__name__,
                settings=searcher.describe(),
                metric='accuracy/top1',
                reward_images=50,
                supernet_iterations=270,
                seed=searcher.seed,
            ),
        )
    return found


def page_of(work_dir):
    return render_report(read_search(work_dir))


def fact(page, name):
    found = re.search(f'<tr><th>{re.escape(name)}</th><td>(.*?)</td></tr>', page)
    return found and found.group(1)


def titles(page):
    return re.findall('<h2>(.*?)</h2>', page)


def pictures(page):
    """The pictures, decoded."""
    sources = re.findall('src="data:image/svg\\+xml;base64,(.*?)"', page)
    return [ElementTree.fromstring(base64.b64decode(source)) for source in sources]


def table(page):
    """The cells of the table of masks, without tags; the chosen row is marked."""
    rows = re.findall('<tr( class="best")?>(<td>.*?)</tr>', page)
    return [
        (bool(best), [re.sub('<.*?>', '', cell) for cell in row.split('</td>')][:-1])
        for best, row in rows
    ]


def write_history(work_dir, *steps):
    """Write a history of (mask, metric, reward) by hand."""
    (work_dir / 'search').mkdir(parents=True)
    (work_dir / 'search/history.jsonl').write_text(
        ''.join(
            json.dumps(
                dict(
                    step=number,
                    masks=[
                        dict(mask=dict(backbone=mask), metric=metric, reward=reward)
                        for mask, metric, reward in step
                    ],
                )
            )
            + '\n'
            for number, step in enumerate(steps)
        )
    )


@pytest.fixture
def tool(root, monkeypatch, capsys):
    """Run the tool in this process; return its exit status and what it printed."""

    def run(*arguments):
        path = root / 'tools/analysis_tools/search_report.py'
        monkeypatch.setattr(sys, 'argv', [path.name, *map(str, arguments)])
        try:
            runpy.run_path(str(path), run_name='__main__')
            status = 0
        except SystemExit as error:
            status = error.code
        return status, capsys.readouterr().out

    return run


def test_the_page_of_a_finished_search_shows_the_chosen_mask(tmp_path):
    best = search(tmp_path).best()
    page = page_of(tmp_path)
    assert titles(page) == [
        'The chosen mask', 'Rewards', 'Probability of each bit', 'Cost and gain',
        'The best 10 masks', 'About the run']  # fmt: skip
    assert 'Finished, 20 of 20 steps done.' in page
    assert 'still running' not in page and 'so far' not in ''.join(titles(page))
    [(chosen, cells)] = [row for row in table(page) if row[0]]
    assert cells[1] == str(Mask.from_file(tmp_path / 'mask_backbone.json'))
    assert cells[2:4] == [f'{best.reward:.2f}', f'{best.metric:.2f}']


def test_the_page_tells_what_the_files_hold(tmp_path):
    found = search(tmp_path)
    page = page_of(tmp_path)
    draws, distinct = 20 * 3 + 1, len(found.history)
    assert fact(page, 'backbone') == (
        'Toy-4, stages of 2-2 blocks, SEAttention (ratio 4)'
    )
    assert fact(page, 'searcher') == 'RLController'
    assert 'num steps 20, masks per step 3, lr 0.05' in fact(page, 'searcher settings')
    assert fact(page, 'reward') == (
        'metric accuracy/top1, unit percent, weight 1, sparsity weight 2'
    )
    assert fact(page, 'reward images') == '50'
    assert fact(page, 'masks drawn') == f'{draws}, {distinct} of them distinct'
    assert fact(page, 'draws of known masks') == f'{1 - distinct / draws:.0%}'
    assert fact(page, 'seed') == '3'
    assert fact(page, 'supernet iterations') == '270'
    assert fact(page, 'last step written') and fact(page, 'mask file written')


def test_what_the_files_do_not_hold_is_left_out(tmp_path):
    write_history(tmp_path, [('10-01', 50.0, 51.0)])
    page = page_of(tmp_path)
    for name in ('searcher', 'searcher settings', 'reward', 'reward images', 'seed',
                 'mask file written'):  # fmt: skip
        assert fact(page, name) is None
    assert fact(page, 'backbone') == 'stages of 2-2 blocks'
    assert fact(page, 'steps done') == '1'
    assert 'None' not in page


def test_the_page_loads_and_runs_nothing(tmp_path):
    search(tmp_path)
    page = page_of(tmp_path)
    assert '<script' not in page and 'url(' not in page and '@import' not in page
    loaded = re.findall('(?:src|href|srcset)="(.{5})', page)
    assert loaded == ['data:'] * 4


def test_without_jinja2_the_tool_says_in_one_line_how_to_get_it(
    tool, tmp_path, monkeypatch
):
    search(tmp_path, stop_after=1)
    monkeypatch.setitem(sys.modules, 'jinja2', None)
    fails(tool(tmp_path), 'needs jinja2; pip install ean_mm[report]')


def test_every_picture_can_be_read_and_is_described(tmp_path):
    search(tmp_path)
    page = page_of(tmp_path)
    assert [picture.tag.rpartition('}')[2] for picture in pictures(page)] == ['svg'] * 4
    assert len(re.findall('<img alt="[^"]+"', page)) == 4
    assert len(re.findall('<figcaption>[^<]+<', page)) == 4


def test_the_same_search_gives_the_same_page(tmp_path):
    search(tmp_path)
    assert page_of(tmp_path) == page_of(tmp_path)


def test_a_running_search_has_a_best_mask_so_far(tmp_path):
    best = search(tmp_path, stop_after=7).best()
    page = page_of(tmp_path)
    assert titles(page)[0] == 'The best mask so far'
    assert 'The search is still running' in page and '7 of 20 steps done' in page
    assert 'RLController' in page
    [(_, cells)] = [row for row in table(page) if row[0]]
    assert cells[2] == f'{best.reward:.2f}'
    assert fact(page, 'seed') == '3'  # from the state
    assert fact(page, 'mask file written') is None


def test_a_torn_last_line_is_not_counted(tmp_path):
    search(tmp_path, stop_after=7)
    whole = page_of(tmp_path)
    history = tmp_path / 'search/history.jsonl'
    text = history.read_text()
    history.write_text(text[:-40])
    assert '6 of 20 steps done' in page_of(tmp_path)
    history.write_text(text + '{"step": 7, "masks": [{"ma')
    assert table(page_of(tmp_path)) == table(whole)


def test_a_cost_that_the_reward_counts_takes_the_place_of_the_number_of_blocks(
    tmp_path, monkeypatch
):
    entries = [
        dict(mask=dict(backbone=mask), metric=metric, reward=metric, cost=cost)
        for mask, metric, cost in (('10', 60.0, 1.5), ('11', 61.0, 2.25))
    ]
    write_history(tmp_path)
    (tmp_path / 'search/history.jsonl').write_text(
        json.dumps(dict(step=0, masks=entries)) + '\n'
    )
    drawn = []
    monkeypatch.setattr(
        'ean_mm.visualization.report.figures.draw_trade_off',
        lambda *arguments: drawn.append(arguments) or draw_trade_off(*arguments),
    )
    page = page_of(tmp_path)
    assert drawn[0][0] == [1.5, 2.25] and drawn[0][3] == 'added cost, %'
    assert [cells[5] for _, cells in table(page)] == ['2.25', '1.50']


def test_the_mask_file_of_an_earlier_search_is_not_taken_for_this_ones(tmp_path):
    best = search(tmp_path).best()
    assert search(tmp_path, stop_after=19).best() == best
    page = page_of(tmp_path)
    assert (tmp_path / 'mask_backbone.json').exists()
    assert 'still running' in page and '19 of 20 steps done' in page


def test_a_mask_file_of_another_mask_does_not_end_the_search(tmp_path):
    write_history(tmp_path, [('10-01', 50.0, 51.0), ('00-01', 40.0, 41.0)])
    Mask.parse('00-01', (2, 2)).to_file(tmp_path / 'mask_backbone.json', reward=70.0)
    page = page_of(tmp_path)
    assert 'still running' in page and table(page)[0][1][1] == '10-01'


def test_a_search_without_its_mask_file_is_not_called_running(tmp_path):
    search(tmp_path, write=False)
    page = page_of(tmp_path)
    assert '20 of 20 steps done, but the search has written no mask file' in page
    assert titles(page)[0] == 'The best mask so far'


@pytest.mark.parametrize('probabilities', [None, [None] * 4, []])
def test_a_searcher_without_probabilities_has_no_heat_map(tmp_path, probabilities):
    search(tmp_path, searcher=lambda space: PolicyFreeSearcher(space, probabilities))
    page = page_of(tmp_path)
    assert 'Probability of each bit' not in titles(page)
    assert len(pictures(page)) == 3
    assert 'Finished, 5 steps done.' in page  # no file says of how many


def test_the_table_ranks_the_masks_and_counts_their_draws(tmp_path):
    a, b, c = ('11-00', 60.0, 61.0), ('00-00', 50.0, 52.0), ('01-11', 61.0, 61.5)
    write_history(tmp_path, [a, b], [b, b], [c, a])
    assert table(page_of(tmp_path)) == [
        (True, ['1', '01-11', '61.50', '61.00', '25.0 %', 'step 2', '1']),
        (False, ['2', '11-00', '61.00', '60.00', '50.0 %', 'step 0', '2']),
        (False, ['3', '00-00', '52.00', '50.00', '100.0 %', 'step 0', '3']),
    ]


def test_of_equal_rewards_the_first_mask_is_the_best(tmp_path):
    write_history(tmp_path, [('01', 50.0, 51.0)], [('10', 50.0, 51.0)])
    assert read_search(tmp_path).best.masks == dict(backbone='01')


def test_several_masked_modules_are_shown_apart(tmp_path):
    search(tmp_path, modules=dict(backbone=Masked(2, 2), neck=Masked(3)))
    page = page_of(tmp_path)
    files = [Mask.from_file(tmp_path / f'mask_{name}.json')
             for name in ('backbone', 'neck')]  # fmt: skip
    [(_, cells)] = [row for row in table(page) if row[0]]
    assert cells[1] == f'backbone {files[0]}neck {files[1]}'
    assert fact(page, 'backbone').startswith('Toy-4, stages of 2-2 blocks')
    assert fact(page, 'neck').startswith('Toy-4, stages of 3 blocks')


def test_text_from_files_is_escaped(tmp_path):
    search(tmp_path)
    path = tmp_path / 'mask_backbone.json'
    content = json.loads(path.read_text())
    evil = '$\\x{$</td><script>alert(1)</script>"&'
    content['network'] = content['attention']['type'] = evil
    content['found_by'].update({'searcher': evil, evil: evil, 'metric': evil})
    path.write_text(json.dumps(content))
    (tmp_path / 'search/state.pth').unlink()
    page = page_of(tmp_path)
    assert '<script' not in page and '&lt;script&gt;' in page
    assert len(pictures(page)) == 4  # $ is no formula in them


def test_nothing_in_the_state_is_executed(tmp_path):
    class Touch:
        def __reduce__(self):
            return Path.touch, (tmp_path / 'executed',)

    search(tmp_path, stop_after=3)
    torch.save(Touch(), tmp_path / 'search/state.pth')
    page = page_of(tmp_path)
    assert not (tmp_path / 'executed').exists()
    assert '3 steps done' in page


def test_the_tool_writes_into_the_work_dir_or_where_it_is_told(tool, tmp_path):
    search(tmp_path)
    for options, out in (
        ([], tmp_path / 'search_report.html'),
        (['--out', tmp_path / 'new/page.html'], tmp_path / 'new/page.html'),
    ):
        status, printed = tool(tmp_path, *options)
        assert (status, printed) == (0, f'{out}\n')
        assert out.read_text() == page_of(tmp_path)


@pytest.mark.parametrize(
    'line, message',
    [
        ('{"step": 0, "masks": [{"met\n', 'line 1 is damaged'),
        ('{"step": 0, "masks": []}\n', 'out of order or has no masks'),
        ('{"step": 0, "masks": [{"metric": 1.0, "mask": {"b": "1"}}]}\n',
         "record 1 has no 'reward'"),
        ('{"step": 0, "masks": [{"metric": NaN, "reward": 1, "mask": {"b": "1"}}]}\n',
         'line 1 is damaged'),
        ('{"step": 0, "masks": [{"metric": 1, "reward": NaN, "mask": {"b": "1"}}]}\n',
         'its reward is not finite'),
        ('{"step": 0, "masks": [{"metric": 1, "reward": 1, "mask": {"b": "1<"}}]}\n',
         'its mask is not bits'),
        ('{"step": 0, "masks": [{"metric": 1, "reward": 1, "mask": "11"}]}\n',
         'it is damaged'),
        ('{"step": 0, "masks": [{"metric": 1, "reward": 1, "mask": {"\\t": "1"}}]}\n',
         'no printable name'),
        ('', 'has not finished its first step'),
        ('{"step": 0, "ma', 'has not finished its first step'),
    ],
)  # fmt: skip
def test_an_unreadable_history_ends_in_one_line(tool, tmp_path, line, message):
    (tmp_path / 'search').mkdir()
    (tmp_path / 'search/history.jsonl').write_text(line)
    fails(tool(tmp_path), message)
    assert not (tmp_path / 'search_report.html').exists()


def test_a_history_of_two_networks_is_refused(tmp_path):
    write_history(tmp_path, [('10-01', 50.0, 51.0)], [('1001', 50.0, 51.0)])
    with pytest.raises(EANError, match='record 2 .* of another network'):
        read_search(tmp_path)


def test_other_mistakes_end_in_one_line(tool, tmp_path):
    fails(tool(tmp_path / 'nowhere'), 'there is no folder')
    fails(tool(tmp_path), 'holds no search')
    write_history(tmp_path, [('10-01', 50.0, 51.0)])
    fails(tool(tmp_path, '--out', tmp_path), 'cannot be written')
    (tmp_path / 'mask_backbone.json').write_text('{"mask": ')
    fails(tool(tmp_path), 'is not a mask file')
    shutil.rmtree(tmp_path / 'search')
    (tmp_path / 'search/history.jsonl').mkdir(parents=True)
    fails(tool(tmp_path), 'cannot be read')


def fails(result, message):
    """The tool has ended with one line, which gives exit status 1."""
    status, _ = result
    assert isinstance(status, str), 'it did not end with an error'
    assert status.startswith('error: ') and '\n' not in status
    assert message in status, status


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


# Masks judged by training them


def judged(mask, reward, budget=800, **facts):
    return dict(
        mask=dict(backbone=mask),
        metric=reward - 1,
        reward=reward,
        budget=budget,
        **facts,
    )


def write_trained(work_dir, *steps, chosen=None, effects=None):
    """Write a finished search by training: its history and its mask file."""
    (work_dir / 'search').mkdir(parents=True)
    records = [dict(step=number, masks=step) for number, step in enumerate(steps)]
    chosen = chosen or steps[0][0]['mask']['backbone']
    records[-1].update(
        policy_mode=True, best=dict(mask=dict(backbone=chosen), reward=1)
    )
    (work_dir / 'search/history.jsonl').write_text(
        ''.join(f'{json.dumps(record)}\n' for record in records)
    )
    Mask.parse(chosen, [len(stage) for stage in chosen.split('-')]).to_file(
        work_dir / 'mask_backbone.json',
        found_by=dict(metric='accuracy/top1'),
        **(dict(effects=effects) if effects else {}),
    )


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
    effects = StoredEffects.read(json.loads(text.replace('"EVIL"', json.dumps(evil))))
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


@pytest.mark.parametrize(
    'facts, message',
    [
        (dict(budget='800'), 'its budget is no number of iterations'),
        (dict(budget=True), 'its budget is no number of iterations'),
        (dict(budget=0), 'its budget is no number of iterations'),
        (dict(budget=10**400), 'its budget is no number of iterations'),
        (dict(diverged='<b>'), "its 'diverged' is neither true nor false"),
    ],
)
def test_damaged_facts_of_a_training_end_in_one_line(tool, tmp_path, facts, message):
    write_trained(tmp_path, [{**judged('10-00', 60.0), **facts}])
    fails(tool(tmp_path), message)


def test_a_history_of_which_only_a_part_was_trained_is_refused(tool, tmp_path):
    other = judged('11-00', 60.0)
    del other['budget']
    write_trained(tmp_path, [judged('10-00', 60.0), other])
    fails(tool(tmp_path), 'only some of its masks have a budget')


def test_a_budget_that_is_null_is_none(tmp_path):
    write_trained(tmp_path, [judged('10-00', 60.0, None)])
    assert 'in the supernet' in page_of(tmp_path)


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
    ax = draw_effects(StoredEffects.read(FULL)).axes[0]
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
    ax = draw_effects(StoredEffects.read(FULL)).axes[0]
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
    ax = draw_effects(StoredEffects.read(dict(FULL, budget=None))).axes[0]
    assert ax.get_ylabel().endswith('that attention brings in the supernet')
