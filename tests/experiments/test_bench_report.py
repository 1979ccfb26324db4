"""What the bench of trained masks says: noise, blocks and pairs, ranks."""

import csv
import math
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from studies.bench import (
    COLUMNS,
    Bench,
    Job,
    analyse,
    bench_block,
    longer_block,
    ordered_jobs,
    ordered_masks,
    pilots_block,
    train_again,
)
from studies.bench.plot import draw_bench
from studies.bench.variance import shares, spread_of
from studies.results import Rows

ROOT = Path(__file__).parents[2]
NONE, ALL = '000-000-000', '111-111-111'


def bits_of(mask):
    return [int(char) for char in mask if char in '01']


def test_noise_is_what_neither_mask_nor_seed_explains():
    """By hand: residuals of 0.5 with one degree of freedom."""
    found = spread_of({Job('a', 0): 1, Job('a', 1): 3, Job('b', 0): 2, Job('b', 1): 6})
    assert found.noise == pytest.approx(1)
    assert found.shifts == pytest.approx({0: 0, 1: 3})
    assert found.means == pytest.approx({'a': 0.5, 'b': 2.5})
    assert found.spread == pytest.approx((2 - 1 / 2) ** 0.5)
    assert found.ratio(4) == pytest.approx(2 * 1.5**0.5)


def test_the_spread_of_a_bench_is_that_of_the_true_accuracies():
    rng = np.random.default_rng(0)
    truth = {mask: rng.normal(50, 1.5) for mask in ordered_masks()}
    found = spread_of({
        job: truth[job.mask] + 2 * job.seed + rng.normal(0, 0.8)
        for part in ordered_jobs() for job in part
    })  # fmt: skip
    assert found.spread == pytest.approx(np.std(list(truth.values())), rel=0.05)
    assert found.noise == pytest.approx(0.8, rel=0.15)
    assert found.shifts[2] == pytest.approx(4, abs=0.4)
    assert found.ratio_at_least(3) < found.ratio(3)


def test_without_repeated_masks_the_noise_is_not_known():
    found = spread_of({Job(NONE, 0): 1.0, Job(ALL, 0): 2.0})
    assert math.isnan(found.noise) and math.isnan(found.spread)
    assert found.means == {NONE: 1, ALL: 2} and shares(found) == {}


def trainings(number=640, attention='SE', noise=0.5):
    """Rows of an invented bench: 2 points for the first block, 1 for another pair."""
    rng = np.random.default_rng(len(attention))
    rows = []
    for job in [job for part in ordered_jobs() for job in part][:number]:
        bits = bits_of(job.mask)
        value = 50 + 2 * bits[0] + 2 * (bits[4] ^ bits[8]) + rng.normal(0, noise)
        end = value + 0.5 * job.seed
        rise = [20, 30, 40, end]
        rows.append(
            dict(
                protocol='p', attention=attention, mask=job.mask, seed=job.seed,
                accuracy=round(end, 4), parameters=1000 + 10 * sum(bits),
                test_accuracies=' '.join(f'{x:.2f}' for x in rise),
                reward_accuracies=' '.join(f'{x + rng.normal():.2f}' for x in rise),
                reward_losses='2.0000 1.5000 1.4000 1.3000',
                train_losses=' '.join(f'{4 - x / 30:.4f}' for x in rise),
                latency=1 + 0.05 * sum(bits), plain_latency=1.0, seconds=60.0,
                cpu_seconds=50.0, date='2026-01-01', machine='m', threads=1, torch='2',
            )
        )  # fmt: skip
    return rows


def test_blocks_and_pairs_explain_what_they_were_given():
    values = {Job(r['mask'], r['seed']): r['accuracy'] for r in trainings(noise=0.2)}
    # variances of 1 each: 2 points for a block, +-1 for a pair of spins
    found = shares(spread_of(values))
    assert found == pytest.approx({1: 0.5, 2: 0.5, 3: 0}, abs=0.03)


@pytest.fixture(scope='module')
def whole():
    """What a whole bench says, and a part of another."""
    return analyse(trainings() + trainings(100, 'DIA'))


def cells_of(text, *begin):
    (line,) = [
        line
        for line in text.splitlines()
        if line.startswith(f'| {" | ".join(begin)} |')
    ]
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_the_report_has_the_numbers_of_the_rows(whole):
    text = bench_block(whole)
    overview = cells_of(text, 'SE', '512')
    accuracies = {j: row['accuracy'] for j, row in whole['SE'].trainings.items()}
    assert overview[2] == '640'
    assert float(overview[8]) == pytest.approx(0.5, abs=0.08)
    assert float(overview[7]) == pytest.approx(2**0.5, abs=0.08)
    for cell, share in zip(overview[10:13], (50, 50, 0)):
        assert int(cell.removesuffix(' %')) == pytest.approx(share, abs=6)
    first, second = (cells_of(text, 'SE', str(stage)) for stage in (1, 2))
    of_bit = {
        bit: np.mean([accuracies[Job(m, 0)] for m in ordered_masks() if m[0] == bit])
        for bit in '01'
    }
    effect = of_bit['1'] - of_bit['0']
    assert float(first[2].split()[0]) == pytest.approx(effect, abs=0.1)
    assert abs(float(second[2].split()[0])) < 0.3
    pair = re.search(r'\(stage\.block\): 2\.2 with 3\.3 (\S+),', text)
    assert float(pair[1]) == pytest.approx(-4, abs=0.3)
    assert 'A block adds 5.0 % to the latency' in text
    assert '740 trainings of 4 epochs, 12.3 hours, of the processor 10.3, on m' in text


def test_ranks_are_compared_with_those_at_the_end(whole):
    for row in whole.values():
        assert row.taus['training loss', 'all masks'][-1] > 0.8
        assert math.isnan(row.taus['training loss', 'all masks'][0])  # all equal
    se = whole['SE']
    others = {
        mask: np.mean(
            [
                se.trainings[Job(mask, seed)]['accuracy'] - se.accuracy.shifts[seed]
                for seed in (1, 2)
            ]
        )
        for mask in ordered_masks()[:64]
    }
    early = [-float(se.trainings[Job(mask, 0)]['train_losses'].split()[-1])
             for mask in others]  # fmt: skip
    expected = kendalltau(early, list(others.values())).statistic
    assert se.taus['training loss', 'other seeds'][-1] == pytest.approx(expected)


@pytest.mark.parametrize('number', [1, 2, 9, 30, 70])
def test_a_part_of_a_bench_is_reported_and_drawn(number, tmp_path):
    found = analyse(trainings(number) + trainings(1, 'DIA'))
    assert f'| SE | {min(number, 64)} | {number} |' in bench_block(found)
    figure = draw_bench(list(found.values()))
    figure.savefig(tmp_path / 'x.png')
    assert len(figure.axes) == 6


def test_searchers_are_compared_on_it(tmp_path):
    path = tmp_path / 'bench_se.csv'
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows := trainings())
    tool = runpy.run_path(str(ROOT / 'tools/analysis_tools/compare_at_cost.py'))
    (table,) = tool['read_tables'](str(path), 'accuracy').values()
    for mask in (ALL, ordered_masks()[-1]):
        expected = np.mean([r['accuracy'] for r in rows if r['mask'] == mask])
        assert table(bits_of(mask)) == pytest.approx(expected)


FILES = sorted((ROOT / 'docs/data').glob('bench_*.csv'))


def test_the_committed_files_are_small():
    assert sum(path.stat().st_size for path in FILES) < 2e6


@pytest.mark.slow
@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_a_committed_row_is_trained_again(path, tmp_path, monkeypatch):
    if not (ROOT / 'data/cifar10').is_dir():
        pytest.skip('there is no data/cifar10')
    monkeypatch.chdir(ROOT)
    threads = torch.get_num_threads()
    row = Rows(path, COLUMNS).rows[0]
    try:
        torch.set_num_threads(row['threads'])
        again, why = train_again(Bench('bench', row['attention'], tmp_path), row)
    finally:
        torch.set_num_threads(threads)
    if why:
        pytest.skip(f'other numbers are no wonder: {why}')
    assert again['accuracy'] == row['accuracy']
    assert again['train_losses'] == row['train_losses']


def test_a_pilot_of_another_processor_is_compared_with_the_bench():
    rows = trainings(20)
    shifted = [
        dict(row, accuracy=row['accuracy'] - 0.5 + 0.1 * (n % 2), machine='another')
        for n, row in enumerate(rows[:4])
    ]
    block = pilots_block({'pilot_x.csv': shifted}, rows)
    assert '| `pilot_x.csv` | SE | 4 | reward loss |' in block
    assert re.search(r'4 trainings of `pilot_x.csv` \(another .* were repeated', block)
    assert 'differ by +0.45 points' in block and 'deviation of 0.06' in block
    assert 'were repeated' not in pilots_block({'pilot_x.csv': shifted}, [])


def test_what_is_expected_is_compared_with_longer_trainings():
    rows = trainings(100, noise=0.2)
    truth = {mask: 2 * bits_of(mask)[0] + 0.1 * n for n, mask in
             enumerate(ordered_masks()[100:110])}  # fmt: skip
    block = longer_block({'SE': rows, 'DIA': rows}, {'SE': truth})
    (line,) = re.findall(r'\| SE \| test accuracy \| (\d+) \| 10 \|.* (\S+) \|', block)
    assert int(line[0]) < 100 and float(line[1]) > 0.7
    assert 'DIA' not in block
    assert longer_block({'SE': rows}, {}) == 'There are too few masks to compare.'
