"""Replays of searches on a made-up bench, in its supernets, and their report."""

import itertools
import json
import re

import numpy as np
import pytest
from made_up_bench import made_up_rows, supernet_row, truth, write

from replay_report import ranking_block
from studies.bench.supernet_table import BATCH, OWN, TUNED
from supernet_searches import (
    IMPROVED,
    PUBLISHED,
    BestTrained,
    Supernets,
    Tuned,
    by_controller,
    controlled,
)
from trained_bench import ACCURACY, LOSS, BenchRows

MASKS = list(itertools.product((0, 1), repeat=9))
TRUE = [truth(mask) for mask in MASKS]
BEST = max(TRUE)


@pytest.fixture(scope='module')
def bench():
    return BenchRows(made_up_rows())


def supernets(tmp_path, bench, *rows):
    write(tmp_path / 'supernets_dia.csv', rows)
    return Supernets(tmp_path / 'supernets_dia.csv', bench)


def test_the_controller_searches_in_a_supernet_and_pays_for_what_it_asks(
    bench, tmp_path
):
    scored = supernets(tmp_path, bench, supernet_row(TRUE))[PUBLISHED, OWN][0]
    mask, cost = by_controller(scored, ACCURACY, 0)
    assert truth(mask) > BEST - 1
    assert 4 + 0.01 * 20 < cost < 4 + 0.01 * 512
    found = Supernets(tmp_path / 'supernets_dia.csv', bench)
    assert controlled(found, 0, bench, 4, 0) is None  # it costs more
    assert controlled(found, 0, bench, 12, 0) == mask


def test_the_best_masks_of_a_supernet_are_trained(bench, tmp_path):
    # it holds the masks without their first block for better; 100 masks cost an epoch
    wrong = [value - 4 * mask[0] for mask, value in zip(MASKS, TRUE)]
    found = supernets(tmp_path, bench, supernet_row(wrong))
    search = BestTrained((PUBLISHED, OWN), ACCURACY)
    assert search(found, 0, bench, 9, 0) is None
    first = search(found, 0, bench, 10, 0)
    assert first[0] == 0 and truth(first) == BEST - 2
    long = search(found, 0, bench, 10 + 4 * 400, 0)
    assert truth(long) == BEST


def test_the_best_masks_of_a_supernet_are_fine_tuned(bench, tmp_path):
    wrong = [value - 4 * mask[0] for mask, value in zip(MASKS, TRUE)]
    found = supernets(
        tmp_path,
        bench,
        supernet_row(wrong, supernet=IMPROVED, scores=BATCH),
        supernet_row(TRUE, supernet=IMPROVED, scores=TUNED, mask_epochs=0.5),
    )
    for measure in (ACCURACY, LOSS):
        search = Tuned(measure)
        assert search(found, 0, bench, 9, 0) is None
        assert truth(search(found, 0, bench, 12, 0)) == BEST - 2
        assert truth(search(found, 0, bench, 10 + 200, 0)) == BEST


def test_chance_orders_masks_of_equal_scores(bench, tmp_path):
    scored = supernets(tmp_path, bench, supernet_row([30] * 512))[PUBLISHED, OWN][0]
    firsts = {scored.ranking(ACCURACY, seed)[0] for seed in range(20)}
    assert len(firsts) > 10


def cells_of(text, *begin):
    (line,) = [
        line
        for line in text.splitlines()
        if line.startswith(f'| {" | ".join(begin)} |')
    ]
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_scores_are_compared_with_the_truth(bench, tmp_path):
    opposite = [-value for value in TRUE]
    found = supernets(
        tmp_path, bench, supernet_row(TRUE), supernet_row(opposite, seed=1)
    )
    text = ranking_block(bench, found)
    cells = cells_of(text, 'trained for 4 of 4 epochs', 'reward accuracy')
    assert cells[2] == '1' and cells[7] == '2048'
    assert all(float(cell) > 0.8 for cell in cells[3:5])
    assert float(cells[6]) < 0.1
    cells = cells_of(text, 'supernet as published, own statistics', 'reward loss')
    assert cells[2] == '2' and cells[7] == '9'
    assert re.fullmatch(r'-?0\.00 ± 0\.\d\d', cells[3])
    worst = np.mean([0, BEST - min(TRUE)])
    assert float(cells[6].split()[0]) == pytest.approx(worst, abs=0.1)


@pytest.fixture
def folder(tmp_path):
    """A folder with a bench that is not complete, and a supernet."""
    write(tmp_path / 'bench_dia.csv', made_up_rows(number=100, noise=0.3))
    write(tmp_path / 'supernets_dia.csv', [supernet_row(TRUE)])
    (tmp_path / 'page.md').write_text(
        '<!-- begin: bench replays DIA -->\n<!-- end: bench replays DIA -->\n'
        '<!-- begin: bench scores DIA -->\n<!-- end: bench scores DIA -->\n'
    )
    return tmp_path


REPLAY = (
    'analysis_tools/replay_bench.py', '--folder', '.', '--epochs', 12, 24,
    '--measures', 'reward loss', '--out', 'out.json', '--report', 'page.md',
)  # fmt: skip


def test_a_replay_is_reported_and_goes_on(folder, tool):
    status, _ = tool(*REPLAY)
    assert re.match(r'error: 4\d\d of 512 masks have no training', status)

    chosen = '--part', '--searches', 'random, 4', 'TPE', 'controller'
    assert tool(*REPLAY, *chosen, '--seeds', 2)[0] == 0
    before = json.loads((folder / 'out.json').read_text())
    assert tool(*REPLAY, *chosen, '--seeds', 3, '--figure', 'x.png')[0] == 0
    after = json.loads((folder / 'out.json').read_text())
    lengths = {(r['problem'], r['searcher']): len(r['regret']) for r in after}
    assert lengths['by reward loss', 'TPE'] == 3
    assert lengths['in a supernet', 'as published, controller'] == 1
    for one, other in zip(before, after):
        if one['problem'] != 'in a supernet':  # which has a mean of replays
            assert other['regret'][: len(one['regret'])] == one['regret']
        assert all(regret >= 0 for regret in other['regret'])
    page = (folder / 'page.md').read_text()
    assert '| random, 4 epochs each | ' in page and '3 replays a cell' in page
    assert '| **in a supernet** |' in page
    assert '| trained for 1 of 4 epochs | reward loss | 1 |' in page
    assert (folder / 'x.png').stat().st_size > 1000

    assert tool(*REPLAY, '--part', '--seeds', 3, '--only-report')[0] == 0
    assert (folder / 'page.md').read_text() == page


def test_what_other_rows_have_found_is_found_anew(folder, tool):
    chosen = '--part', '--searches', 'random, 4', '--seeds', 2
    assert tool(*REPLAY, *chosen)[0] == 0
    before = json.loads((folder / 'out.json').read_text())
    write(folder / 'bench_dia.csv', made_up_rows(number=110, noise=0.3))
    assert tool(*REPLAY, *chosen)[0] == 0
    after = json.loads((folder / 'out.json').read_text())
    assert len(after) == len(before)
    assert {r['rows'] for r in after}.isdisjoint(r['rows'] for r in before)


def test_supernets_of_another_protocol_are_refused(folder, tool):
    write(folder / 'supernets_dia.csv', [{**supernet_row(TRUE), 'protocol': 'q'}])
    status, _ = tool(*REPLAY, '--part')
    assert 'has supernets of another protocol (q) than this one (p)' in status
