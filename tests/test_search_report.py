"""The report of a search: what the page shows, and of which files."""

import json
import re
from pathlib import Path

import pytest
import torch
from searched import (
    Masked,
    fact,
    page_of,
    pictures,
    search,
    table,
    titles,
    write_history,
)

from ean_mm import Mask
from ean_mm.search import BaseSearcher
from ean_mm.visualization.report import read_search
from ean_mm.visualization.trade_off_plot import draw_trade_off


class PolicyFreeSearcher(BaseSearcher):
    """A searcher of random masks, which learns nothing."""

    def __init__(self, space, probabilities):
        super().__init__(space.num_bits, seed=0, num_steps=5, masks_per_step=1)
        self.space = space
        self.generator = torch.Generator().manual_seed(0)
        self.probabilities = lambda: probabilities

    def ask(self):
        return [self.space.random(self.generator)]

    def mode(self):
        return (0,) * self.space.num_bits

    def describe(self):
        return {}


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
