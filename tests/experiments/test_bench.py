"""The bench of trained masks: its rows, and who does them."""

import csv
import os
import runpy
import shutil
import sys
import time
from pathlib import Path

import killing
import numpy as np
import pytest
from mmengine.runner import Runner

from ean_mm import EANError
from studies import protocols
from studies.bench import COLUMNS, Bench, Job, train_again
from studies.bench.training import EpochHook, Images
from studies.results import Rows

ROOT = Path(__file__).parents[2]
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
    """Run the tool, in a process of its own."""
    os.chdir(folder)
    sys.argv = arguments
    runpy.run_path(str(ROOT / 'tools' / arguments[0]), run_name='__main__')


def test_processes_share_the_work_and_do_what_a_killed_one_has_left(tmp_path):
    path = tmp_path / CSV
    processes = [killing.process(work, TINY, tmp_path) for _ in range(3)]
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
