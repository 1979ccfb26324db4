"""How a supernet's ranking of masks is measured."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from tables import CSV, TINY, read_rows, rows_of

from ean_mm import EANError
from studies import ranking_report
from studies.ranking_report import noise_ceilings
from studies.ranking_table import RankingTable
from studies.results import COLUMNS, Results

RANKING = [
    'experiments/rank_correlation.py', '--seeds', '0', '1', '--random-masks', '2',
    '--masks', '9', '--calibration-batches', '2', *TINY]  # fmt: skip
BALANCED = 'search custom_hooks.1.sampling=balanced'


@pytest.mark.slow
def test_the_supernets_ranking_of_the_masks_of_a_table(folder, tool, request):
    (search,) = rows_of(read_rows(), 'search', 0)
    shutil.rmtree(folder / 'runs' / search['config_hash'])  # it is trained again
    status, out = tool(*RANKING)
    assert status == 0
    rows = read_rows()[14:]
    sampled, repeated = (rows_of(rows, v) for v in ('sampled mask', 'repeated mask'))
    known = {row['mask'] for row in read_rows()[:14] if row['variant'] != 'search'}
    assert len(sampled) == 9 - len(known) > 0
    assert not known & {row['mask'] for row in sampled}
    # the accuracies in the supernet are those that the search has seen
    history = folder / 'runs' / search['config_hash'] / 'search/history.jsonl'
    seen = {
        entry['mask']['backbone']: entry['metric']
        for line in history.read_text().splitlines()
        for entry in json.loads(line)['masks']
    }
    supernet = {row['mask']: float(row['percent'])
                for row in rows_of(rows, 'supernet', 0)
                if row['options'] == search['options']}  # fmt: skip
    assert len(supernet) == 9
    common = supernet.keys() & seen.keys()
    assert search['mask'] in common
    assert all(supernet[mask] == pytest.approx(seen[mask], abs=1e-3) for mask in common)
    # tau, pair by pair
    trained = {}
    seeds = {}
    for row in read_rows()[:14] + sampled + repeated:
        if row['variant'] not in ('search', 'unshared everywhere'):
            trained.setdefault(row['mask'], []).append(float(row['percent']))
            seeds.setdefault(row['mask'], set()).add(row['seed'])
    assert all(of_mask == {'0', '1'} for of_mask in seeds.values())
    trained = {mask: np.mean(values) for mask, values in trained.items()}
    x, y = (np.array([values[m] for m in trained]) for values in (supernet, trained))
    signs = [np.sign(v[:, None] - v) for v in (x, y)]
    tau = (signs[0] * signs[1]).sum() / np.sqrt(np.prod([(s**2).sum() for s in signs]))
    assert f'| {tau:.2f} | ' in next(
        line
        for line in out.splitlines()
        if line.startswith('| as published | own | 9 ')
    )
    assert 'of 9 masks' in out
    # and once more, nothing is run
    before = CSV.read_bytes()
    request.getfixturevalue('no_training')
    assert (
        tool(*RANKING)[1]
        == out.rpartition('h left\n')[2].partition('**')[1]
        + (out.rpartition('h left\n')[2].partition('**')[2])
    )
    assert CSV.read_bytes() == before


def test_the_taus_and_ranges_of_supernets():
    trained = {'11-00': 70.0, '00-00': 68.0, '11-11': 69.0}
    one = {'11-00': 65.0, '00-00': 50.0, '11-11': 60.0}  # all pairs as when trained
    other = {'11-00': 50.0, '00-00': 60.0, '11-11': 52.0}  # all the other way round
    cells = ranking_report._correlations([one, {}, other], trained)
    # '11-00' has half of the blocks, the others tie: two of three pairs, tau-b
    to_half = 2 / (3 * 2) ** 0.5
    assert cells == ['3', '1.00', '', '-1.00', '0.00', '-1.00', '12.5', '0.00']
    assert ranking_report._correlations([one], trained) == [
        '3', '1.00', '1.00', '', '15.0', f'{to_half:.2f}']  # fmt: skip


@pytest.mark.slow
def test_other_supernets_rank_the_same_masks(folder, tool):
    assert tool(*RANKING, '--masks', '3', '--supernets', 'balanced')[0] == 0
    rows = read_rows()[14:]
    (search,) = rows_of(read_rows()[:14], 'search', 0)
    (other,) = rows_of(rows, 'search', 0)
    assert other['options'] == f'{search["options"]} {BALANCED}'
    assert other['config_hash'] != search['config_hash']
    # It trains no network of its own, and ranks what the table has trained.
    assert {row['variant'].partition(' #')[0] for row in rows} == {
        'search', 'repeated mask', 'supernet', 'supernet, norm layers on 2 batches',
    }  # fmt: skip
    masks = {
        options: {row['mask'] for row in rows_of(rows, 'supernet', 0)
                  if row['options'] == options}
        for options in (search['options'], other['options'])
    }  # fmt: skip
    assert masks[search['options']] == masks[other['options']]
    assert '\n| balanced | own | ' in tool(*RANKING, '--only-report')[1]
    assert 'balanced' not in tool(*RANKING, '--only-report', '--supernets')[1]


def test_an_unknown_supernet_is_refused():
    with pytest.raises(EANError, match="no supernet 'fair'; it has balanced"):
        RankingTable('mini', 'ResNet-20', 'SE', supernets=['fair'])


def test_a_task_without_a_supernet_cannot_be_ranked():
    with pytest.raises(EANError, match="'transfer' has no supernet of FCN-18, CamVid"):
        RankingTable('transfer', 'FCN-18, CamVid', 'SE')


def test_noise_bounds_the_rank_correlation():
    masks = np.arange(20.0)
    exact = [[value, value] for value in masks]
    assert noise_ceilings(exact) == (0, 1, 1)
    # Each mask's trainings differ by more than the masks.
    deviation, perfect, again = noise_ceilings([[79, 81], [80, 80.2], [81, 79.2]] * 9)
    assert deviation == pytest.approx(((2 + 0.02 + 1.62) / 3) ** 0.5)
    assert perfect == 0 and abs(again) < 0.05


def test_the_noise_ceiling_is_what_a_known_noise_allows():
    rng = np.random.default_rng(1)
    true = rng.normal(80, 1, 300)
    once = true + rng.normal(0, 0.5, 300)
    again = true + rng.normal(0, 0.5, 300)
    trainings = [[a, b] if i < 100 else [a]
                 for i, (a, b) in enumerate(zip(once, again))]  # fmt: skip
    _, perfect, other = noise_ceilings(trainings)
    measured = [np.mean(values) for values in trainings]
    fresh = true + rng.normal(0, 0.5, 300)
    assert perfect == pytest.approx(stats.kendalltau(true, measured)[0], abs=0.06)
    assert other == pytest.approx(stats.kendalltau(fresh, measured)[0], abs=0.06)


def test_the_columns_are_written_as_they_are_read(folder):
    assert list(read_rows()[0]) == list(COLUMNS)
    before = CSV.read_bytes()
    results = Results(CSV)
    for row in results.rows:
        results_copy = Results('copy.csv')
        results_copy.append(row)
    assert Path('copy.csv').read_bytes() == before
