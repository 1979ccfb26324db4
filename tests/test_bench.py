"""The bench of trained masks: its order, its rows, who does them, what they say."""

import csv
import itertools
import math
import os
import re
import runpy
import shutil
import sys
import time
from pathlib import Path

import killing
import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from scipy.stats import kendalltau

from ean_mm import EANError
from studies import protocols
from studies.bench import (
    COLUMNS,
    Bench,
    Job,
    analyse,
    bench_block,
    ordered_jobs,
    ordered_masks,
    pilot_jobs,
    train_again,
)
from studies.bench.plot import draw_bench
from studies.bench.training import EpochHook, Images
from studies.bench.variance import shares, spread_of
from studies.fidelity import FidelityTable
from studies.results import Rows

ROOT = Path(__file__).parents[1]
NONE, ALL = '000-000-000', '111-111-111'
OPTIONS = {'train_cfg.max_epochs': 2, 'train_dataloader.batch_size': 256,
           'model.backbone.base_channels': 8, 'model.backbone.stem_channels': 8,
           'model.head.in_channels': 32}  # fmt: skip
TINY = [
    'experiments/bench.py', '--protocol', 'digits', '--attention', 'SE', '--masks', '2',
    '--folder', '.', '--work-dir', 'runs',
    '--cfg-options', *(f'{key}={value}' for key, value in OPTIONS.items()),
]  # fmt: skip
CSV = Path('bench_se.csv')


def bits_of(mask):
    return [int(char) for char in mask if char in '01']


def test_the_order_begins_with_no_block_all_blocks_and_opposites():
    masks = ordered_masks()
    assert masks[:2] == [NONE, ALL]
    assert sorted(masks) == sorted(
        '-'.join(map(''.join, (m[:3], m[3:6], m[6:])))
        for m in itertools.product('01', repeat=9)
    )
    for one, other in zip(masks[::2], masks[1::2]):
        assert [1 - bit for bit in bits_of(one)] == bits_of(other)


@pytest.mark.parametrize('number, blocks', [(32, 3), (64, 3), (96, 3), (128, 5)])
def test_the_beginnings_of_the_order_are_balanced(number, blocks):
    """Any three blocks, or five, have each of their settings equally often."""
    masks = np.array([bits_of(mask) for mask in ordered_masks()[:number]])
    for chosen in itertools.combinations(range(9), blocks):
        settings, counts = np.unique(masks[:, chosen], axis=0, return_counts=True)
        assert len(settings) == 2**blocks and len(set(counts)) == 1


def test_further_seeds_of_64_masks_come_after_each_eighth():
    parts = ordered_jobs()
    masks = ordered_masks()
    assert [len(part) for part in parts] == [80] * 8
    jobs = [job for part in parts for job in part]
    assert len(set(jobs)) == 640
    assert [job.mask for job in jobs if job.seed == 0] == masks
    for number, part in enumerate(parts):
        assert {job.seed for job in part[:64]} == {0}
        again = masks[8 * number : 8 * number + 8]
        assert part[64:] == [Job(mask, seed) for mask in again for seed in (1, 2)]


def test_a_pilot_is_a_part_of_the_bench():
    pilot = [job for part in pilot_jobs() for job in part]
    assert len(pilot) == 18 and {NONE, ALL} < {job.mask for job in pilot}
    assert set(pilot) < {job for part in ordered_jobs() for job in part}


def test_a_bench_of_fewer_masks_has_the_first_ones():
    jobs = [job for part in ordered_jobs(3) for job in part]
    masks = ordered_masks()[:3]
    assert jobs[:3] == [Job(mask, 0) for mask in masks]
    assert set(jobs) == {Job(mask, seed) for mask in masks for seed in range(3)}


def test_the_protocol_rewards_and_tests_on_images_apart():
    cfg = FidelityTable('bench', 'ResNet-20', 'DIA').config()
    train, reward, test = (cfg[f'{side}_dataloader'].dataset
                           for side in ('train', 'val', 'test'))  # fmt: skip
    assert (train.held_out, reward.held_out) == (False, True)
    assert train.num_per_class == reward.num_per_class == 100
    assert train.dataset.num_per_class == reward.dataset.num_per_class == 600
    assert reward.dataset.held_out and train.dataset.held_out
    sources = [side.dataset.dataset.data_prefix for side in (train, reward)]
    assert sources == ['train', 'train'] and test.dataset.data_prefix == 'test'
    assert (test.held_out, test.num_per_class) == (True, 500)
    assert (10 * 500) % cfg.train_dataloader.batch_size == 0
    assert cfg.param_scheduler.milestones == [6, 9]  # 81 and 122 of 164
    assert cfg.model.backbone.attention.type == 'DIAAttention'


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A folder with a finished bench of two masks, three seeds each."""
    folder = tmp_path_factory.mktemp('finished')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, 'argv', TINY)
        runpy.run_path(str(ROOT / 'tools' / TINY[0]), run_name='__main__')
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of it, in the folder that tools are run in."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def no_training(monkeypatch):
    def refuse(bench, job):
        raise AssertionError(f'{job} is trained')

    monkeypatch.setattr(Bench, 'train', refuse)


def read_rows(path=CSV):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def test_every_training_has_a_row(folder):
    rows = read_rows(folder / CSV)
    assert [(row['mask'], row['seed']) for row in rows] == [
        (NONE, '0'), (ALL, '0'),
        (NONE, '1'), (NONE, '2'), (ALL, '1'), (ALL, '2')]  # fmt: skip
    assert len({row['protocol'] for row in rows}) == 1
    assert {row['attention'] for row in rows} == {'SE'}
    # stages of 8, 16 and 32 channels, a quarter of them hidden, with biases
    added = sum(c * (c // 4) * 2 + c + c // 4 for c in (8, 16, 32))
    parameters = {row['mask']: int(row['parameters']) for row in rows}
    assert parameters[ALL] - parameters[NONE] == added
    for row in rows:
        for name in ('test_accuracies', 'reward_accuracies'):
            values = list(map(float, row[name].split()))
            assert len(values) == 2 and all(0 <= value <= 100 for value in values)
        assert float(row['accuracy']) == pytest.approx(
            float(row['test_accuracies'].split()[-1]), abs=0.005
        )
        # of 360 test images
        assert float(row['accuracy']) * 3.6 == pytest.approx(
            round(float(row['accuracy']) * 3.6), abs=1e-3
        )
        for name in ('train_losses', 'reward_losses'):
            values = list(map(float, row[name].split()))
            assert len(values) == 2 and all(0 < value < 20 for value in values)
        assert 0 < float(row['latency']) < 1000 > float(row['plain_latency']) > 0
        assert 0 < float(row['cpu_seconds'])
    assert len({row['train_losses'] for row in rows}) == 6


def test_what_is_done_is_not_done_again(folder, tool, no_training):
    before = (folder / CSV).read_text()
    status, output = tool(*TINY)
    assert status == 0 and '| SE | 2 | 6 |' in output
    assert (folder / CSV).read_text() == before


def test_a_bench_goes_on_after_a_row_that_was_cut_off(folder, tool):
    lines = (folder / CSV).read_text().splitlines(keepends=True)
    (folder / CSV).write_text(''.join(lines[:-1]) + lines[-1][:30])
    status, output = tool(*TINY)
    assert status == 0 and '[6/6] SE 111-111-111, seed 2' in output
    redone = read_rows(folder / CSV)
    # The same numbers, as everything random in a training comes from its seed.
    (*_, expected) = csv.DictReader(lines)
    for name in ('accuracy', 'train_losses', 'test_accuracies', 'reward_losses'):
        assert redone[-1][name] == expected[name]
    assert len(redone) == 6


def test_rows_of_another_protocol_are_refused(folder, tool, no_training):
    before = (folder / CSV).read_text()
    status, _ = tool(*TINY, 'optim_wrapper.optimizer.lr=0.01')
    assert status.startswith('error: bench_se.csv has trainings of SE by another ')
    assert (folder / CSV).read_text() == before


def test_a_row_is_trained_again_and_compared(folder, tool):
    status, output = tool(*TINY, '--check', 2)
    assert status == 0 and f'row 2, SE {ALL}, seed 0: ' in output
    assert output.rstrip().endswith('%, as in the file')

    rows = Rows(folder / CSV, COLUMNS).rows
    bench = Bench('digits', 'SE', folder, options=OPTIONS)
    again, why = train_again(bench, {**rows[1], 'machine': 'another', 'threads': 7})
    assert again['accuracy'] == rows[1]['accuracy']
    assert why == f'machine {rows[1]["machine"]}, not another; threads 1, not 7'
    with pytest.raises(EANError, match='by the protocol 123, not by this one'):
        train_again(bench, {**rows[1], 'protocol': '123'})


@pytest.mark.parametrize('same_machine', [True, False])
def test_another_number_is_an_error_on_the_same_machine_only(
    folder, tool, monkeypatch, same_machine
):
    row = Rows(folder / CSV, COLUMNS).rows[0]
    other = {**row, 'accuracy': -1.0}
    if not same_machine:
        other['torch'] = '3.0'
    monkeypatch.setattr(Bench, 'train', lambda bench, job: other)
    status, output = tool(*TINY, '--check', 1)
    if same_machine:
        assert status.startswith('error: ') and ' -1.0 % instead of ' in status
    else:
        assert status == 0 and 'as may be with torch 3.0, not ' in output


def test_mistakes_end_in_one_line(folder, tool):
    for arguments, message in (
        (['--check', 7], 'bench_se.csv has 6 rows, and none of number 7'),
        (['--attention', 'XX'], "the protocol has no attention 'XX'; it has SE"),
        (['--protocol', 'bench', '--data-root', 'x'], 'there is no x; put it there'),
        (['--epochs', 3], '--epochs is for a --pilot; a bench has the numbers of'),
        (['--only-report', '--report', 'x.md'], 'there is no file x.md'),
        (['--only-report', '--figure', 'x.txt'], 'name a .png, .svg or .pdf file'),
    ):
        status, _ = tool(*TINY[: 11 if arguments[0] != '--check' else None], *arguments)
        assert status.startswith('error: ') and '\n' not in status
        assert message in status


def test_a_pilot_shows_how_far_masks_are_told_apart(folder, tool, no_training):
    rows = read_rows(folder / CSV)
    pilot = folder / 'runs' / f'pilot_se_{rows[0]["protocol"]}.csv'
    shutil.copy(folder / CSV, pilot)
    status, output = tool(*TINY, '--pilot')
    assert status == 0 and '6 trainings of 2 masks' in output
    table = np.zeros((2, 3))
    for row in rows:
        table[int(row['mask'] == ALL), int(row['seed'])] = row['accuracy']
    # analysis of variance in two ways, by hand
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    noise = (np.square(rest).sum() / 2) ** 0.5
    spread = max(0, table.mean(1).var(ddof=1) - noise**2 / 3) ** 0.5
    (line,) = [line for line in output.splitlines() if '| test accuracy |' in line]
    cells = [cell.strip() for cell in line.strip('|').split('|')]
    assert cells[1:4] == [f'{table.mean():.3f}', f'{spread:.3f}', f'{noise:.3f}']


def test_a_pilot_may_have_other_numbers_than_the_protocol(tool, monkeypatch):
    monkeypatch.setitem(protocols.PROTOCOLS, 'digits', protocols.DIGITS)  # as it was
    configs = []

    def train(bench, job):
        configs.append(bench.config(job.seed))
        raise EANError('enough')

    monkeypatch.setattr(Bench, 'train', train)
    status, _ = tool(
        *('experiments/bench.py', '--protocol', 'digits', '--attention', 'DIA'),
        *('--work-dir', 'runs', '--pilot', '--epochs', 30),
    )
    assert status == 'error: enough'
    assert configs[0].train_cfg.max_epochs == 30
    assert configs[0].param_scheduler.milestones == [20, 26]  # 10 and 13 of 15


def test_a_training_that_diverges_is_a_bad_mask(tmp_path):
    bench = Bench('digits', 'SE', tmp_path,
                  options={**OPTIONS, 'optim_wrapper.optimizer.lr': 1e30})  # fmt: skip
    row = bench.train(Job(ALL, 0))
    assert row['accuracy'] == 0
    assert row['test_accuracies'] == row['reward_accuracies'] == '0.00 0.00'
    assert row['train_losses'] == row['reward_losses'] == 'nan nan'


def test_the_measured_accuracy_is_that_of_mmengines_validation(
    digits_config, build_runner
):
    digits_config.custom_hooks = []
    runner = build_runner(digits_config)
    runner.train()
    hook = EpochHook(Images(digits_config, runner.model.data_preprocessor).measured)
    hook.after_train_epoch(runner)
    assert runner.model.training
    expected = runner.val_loop.run()['accuracy/top1']
    assert hook.accuracies['reward'] == pytest.approx([expected], abs=1e-4)
    expected = Runner.test(runner)['accuracy/top1']
    assert hook.accuracies['test'] == pytest.approx([expected], abs=1e-4)


def work(arguments, folder):
    """Run the tool in a process of its own."""
    os.chdir(folder)
    torch.set_num_threads(1)
    sys.argv = arguments
    runpy.run_path(str(ROOT / 'tools' / arguments[0]), run_name='__main__')


def test_processes_share_the_work_and_do_what_a_killed_one_has_left(tmp_path):
    path = tmp_path / CSV
    processes = [
        killing._context.Process(target=work, args=(TINY, tmp_path)) for _ in range(3)
    ]
    processes[0].start()
    while not path.exists():  # it has done a row, and is training the second mask
        assert processes[0].is_alive()
        time.sleep(0.01)
    for process in processes[1:]:
        process.start()
    processes[0].kill()
    for process in processes[1:]:
        process.join(300)
        assert process.exitcode == 0
    rows = read_rows(path)
    assert sorted((row['mask'], row['seed']) for row in rows) == [
        (mask, seed) for mask in (NONE, ALL) for seed in '012']  # fmt: skip


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


def test_the_report_goes_into_a_document(folder, tool, no_training, tmp_path):
    path = tmp_path / 'page.md'
    path.write_text('a\n<!-- begin: digits masks -->\n<!-- end: digits masks -->\nb\n')
    only = [*TINY[:11], '--only-report', '--report', path, '--figure', 'bench.png']
    assert tool(*only)[0] == 0
    once = path.read_text()
    assert '| SE | 2 | 6 |' in once and once.endswith('b\n')
    assert tool(*only)[0] == 0 and path.read_text() == once
    assert (tmp_path / 'bench.png').stat().st_size > 1000


def test_an_empty_bench_is_reported(tool):
    status, output = tool(*TINY[:11], '--only-report')
    assert status == 0 and output == 'No mask has been trained yet.\n'


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
