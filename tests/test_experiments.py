"""Tables of trained networks: what is run, what is kept, what is reported."""

import csv
import json
import os
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from scipy import stats

from ean_mm import EANError, Mask
from ean_mm.models.attention import SGEAttention
from studies import ranking_report, scheduler, supernet_scores
from studies.markdown import fill
from studies.ranking_report import noise_ceilings
from studies.ranking_table import RankingTable, sampled_masks
from studies.report import NetworkReport
from studies.report_text import mean_interval
from studies.results import COLUMNS, Results
from studies.run import RESULT_KEYS
from studies.scheduler import due
from studies.table import Table, random_masks

OPTIONS = {'train_cfg.max_epochs': 1, 'model.backbone.base_channels': 8,
           'model.backbone.stem_channels': 8, 'model.head.in_channels': 32}  # fmt: skip
SEARCH_OPTIONS = {'custom_hooks.2.searcher.num_steps': 3}
TINY = [
    '--protocol', 'digits', '--work-dir', 'runs',
    '--cfg-options', *(f'{k}={value}' for k, value in OPTIONS.items()),
    '--search-cfg-options', *(f'{k}={value}' for k, value in SEARCH_OPTIONS.items()),
]  # fmt: skip
TABLE = ['run_table.py', '--attention', 'SE', '--seeds', '0', '1',
         '--random-masks', '2', *TINY]  # fmt: skip
RUNS_A_SEED = 7
CSV = Path('runs/results.csv')


def run_tool(root, name, *arguments):
    """Run a tool in this process; return its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [name, *map(str, arguments)])
        try:
            runpy.run_path(str(root / 'tools/experiments' / name), run_name='__main__')
        except SystemExit as error:
            return error.code
    return 0


@pytest.fixture(scope='module')
def finished(root, tmp_path_factory):
    """A folder with a finished table."""
    folder = tmp_path_factory.mktemp('finished')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_tool(root, *TABLE) == 0
    return folder


@pytest.fixture
def folder(finished, tmp_path, monkeypatch):
    """A copy of it, to work in."""
    shutil.copytree(finished, tmp_path / 'copy')
    monkeypatch.chdir(tmp_path / 'copy')
    return tmp_path / 'copy'


@pytest.fixture
def tool(root, capsys):
    """Run a tool in this process; return its exit status and what it printed."""
    return lambda *arguments: (run_tool(root, *arguments), capsys.readouterr().out)


@pytest.fixture
def no_training(monkeypatch):
    def refuse(run, work_dir):
        raise AssertionError(f'{run} is trained')

    monkeypatch.setattr(scheduler, 'execute', refuse)
    monkeypatch.setattr(supernet_scores, 'execute', refuse)


def read_rows(path=CSV):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def rows_of(rows, variant, seed=None):
    return [
        row
        for row in rows
        if row['variant'].split(' #')[0] == variant
        and (seed is None or int(row['seed']) == seed)
    ]


def percents(rows, variant, seed=None):
    return np.array([float(row['percent']) for row in rows_of(rows, variant, seed)])


def test_every_run_has_a_row(folder):
    rows = read_rows()
    expected = ['plain', 'search', 'unshared everywhere', 'shared everywhere',
                'searched mask', 'random mask #1', 'random mask #2']  # fmt: skip
    assert [row['variant'] for row in rows] == expected * 2
    assert [row['seed'] for row in rows] == ['0'] * 7 + ['1'] * 7
    assert len({row['config_hash'] for row in rows}) == 14
    for row in rows:
        searches = row['variant'] == 'search'
        images = (row['train_images'], row['test_images'])
        assert images == (('1137', '300') if searches else ('1437', '360'))
        assert row['attention'] == ('none' if row['variant'] == 'plain' else 'SE')
        # batches of 64
        assert row['epochs'] == '1' and float(row['train_seconds']) > 0
        assert row['iterations'] == ('18' if searches else '23')
        if not torch.cuda.is_available():
            capability = torch.backends.cpu.get_cpu_capability()
            assert row['machine'].endswith(f', {capability}')


def test_each_seed_has_its_own_search_and_random_masks_like_it(folder):
    rows = read_rows()
    for seed in (0, 1):
        (search,), (searched,) = (
            rows_of(rows, variant, seed) for variant in ('search', 'searched mask')
        )
        written = folder / 'runs' / search['config_hash'] / 'mask_backbone.json'
        assert json.loads(written.read_text())['mask'] == search['mask']
        masks = [searched['mask']]
        masks += [row['mask'] for row in rows_of(rows, 'random mask', seed)]
        assert masks[0] == search['mask'] and len(set(masks)) == 3
        assert len({mask.count('1') for mask in masks}) == 1


def test_the_accuracy_is_that_of_the_checkpoint_on_the_test_set(folder):
    row = rows_of(read_rows(), 'searched mask', 0)[0]
    run = folder / 'runs' / row['config_hash']
    (config,) = run.glob('*.py')
    cfg = Config.fromfile(config)
    assert cfg.model.backbone.mask == row['mask'] and cfg.randomness == {'seed': 0}
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    weights = torch.load(run / 'epoch_1.pth', weights_only=True)['state_dict']
    model.load_state_dict(weights)
    test_set = DATASETS.build(cfg.test_dataloader.dataset)
    images = torch.stack([item['inputs'] for item in test_set])
    labels = torch.cat([item['data_samples'].gt_label for item in test_set])
    with torch.no_grad():
        scores = model.eval()((images - 127.5) / 127.5, mode='tensor')
    predicted = scores.argmax(1)
    accuracy = 100 * (predicted == labels).float().mean()
    # at most one of 360 images otherwise
    assert float(row['percent']) == pytest.approx(float(accuracy), abs=0.3)


def test_parameters_are_those_in_use(folder):
    rows = read_rows()
    (plain,) = {int(row['parameters']) for row in rows_of(rows, 'plain')}
    channels = (8, 16, 32)
    module = [c * (c // 4) * 2 + c // 4 + c for c in channels]  # two layers with bias
    for row in rows:
        if row['variant'] == 'plain':
            continue
        stages = row['mask'].split('-')
        shared = 'unshared' not in row['variant']
        uses = [min(stage.count('1'), 1 if shared else 3) for stage in stages]
        extra = sum(use * size for use, size in zip(uses, module))
        assert int(row['parameters']) == plain + extra, row


def test_run_again_trains_nothing(folder, tool, no_training):
    before = CSV.read_bytes()
    status, out = tool(*TABLE)
    assert status == 0 and '| SE | searched mask | 2 |' in out
    assert CSV.read_bytes() == before


@pytest.mark.parametrize(
    'change, number',
    [
        ({}, 0),
        ({'optim_wrapper.optimizer.lr': 0.02}, 8),  # what does not wait for a search
        ({'train_cfg.max_epochs': 2}, 8),
        ({'search': {'custom_hooks.2.reward.sparsity_weight': 1.0}}, 2),
        ({'load_from': 'pretrained.pth'}, 8),
        ({'log_level': 'INFO', 'default_hooks.logger.interval': 1}, 0),
        ({'search': {'auto_scale_lr': dict(enable=True, base_batch_size=512)}}, 2),
        ({'data_root': 'elsewhere'}, 0),
        ({'seeds': (0, 1, 2)}, 4),
    ],
    ids=str,
)
def test_a_changed_config_is_run_again(folder, change, number):
    change = dict(change)
    table = Table(
        'digits', attentions=['SE'], random_masks=2,
        seeds=change.pop('seeds', (0, 1)), data_root=change.pop('data_root', None),
        search_options={**SEARCH_OPTIONS, **change.pop('search', {})},
        options={**OPTIONS, **change})  # fmt: skip
    assert len(list(due(table, Results(CSV), set()))) == number


def test_a_run_under_another_name_takes_the_result_that_is_there(folder):
    """As a searched mask with every bit set does, which is attention everywhere."""
    text = CSV.read_text().replace(',shared everywhere,', ',other,')
    CSV.write_text(text)
    results = Results(CSV)
    table = Table('digits', attentions=['SE'], seeds=(0, 1), random_masks=2,
                  options=OPTIONS, search_options=SEARCH_OPTIONS)  # fmt: skip
    assert list(due(table, results, set())) == []
    new = read_rows()[14:]
    assert [row['variant'] for row in new] == ['shared everywhere'] * 2
    assert percents(new, 'shared everywhere').tolist() == [
        float(row['percent']) for row in rows_of(read_rows(), 'other')
    ]


def test_a_search_that_finds_every_bit_set_is_a_row_for_good(folder, no_training):
    text = CSV.read_text()
    for row in rows_of(read_rows(), 'search'):
        line = next(line for line in text.splitlines() if row['config_hash'] in line)
        text = text.replace(line, line.replace(row['mask'], '111-111-111'))
    CSV.write_text(text)
    table = Table('digits', attentions=['SE'], seeds=(0, 1), random_masks=2,
                  options=OPTIONS, search_options=SEARCH_OPTIONS)  # fmt: skip
    assert list(due(table, Results(CSV), set())) == []
    after = CSV.read_bytes()
    new = read_rows()[14:]
    assert [row['variant'] for row in new] == ['searched mask'] * 2
    assert list(due(table, Results(CSV), set())) == []
    assert CSV.read_bytes() == after


def running(process):
    return process.poll() is None


def processes_of(folder):
    """Processes whose current folder this is."""
    found = []
    for link in Path('/proc').glob('[0-9]*/cwd'):
        try:
            if link.resolve() == folder and link.parent.name != str(os.getpid()):
                found.append(link.parent.name)
        except OSError:  # ended, or not ours
            pass
    return found


@pytest.mark.slow
@pytest.mark.parametrize('kind', [signal.SIGKILL, signal.SIGINT])
def test_a_killed_table_goes_on(root, tmp_path, monkeypatch, tool, kind):
    monkeypatch.chdir(tmp_path)
    process = subprocess.Popen(
        [sys.executable, '-W', 'ignore', root / 'tools/experiments/run_table.py',
         *TABLE[1:], '--jobs', '2', '--seeds', '0'],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})  # fmt: skip
    while running(process) and (not CSV.exists() or len(read_rows()) < 2):
        time.sleep(0.01)
    if kind == signal.SIGINT:
        os.killpg(process.pid, kind)  # as the terminal does
    else:
        process.send_signal(kind)
    output, _ = process.communicate(timeout=60)
    deadline = time.time() + 30
    while processes_of(tmp_path) and time.time() < deadline:
        time.sleep(0.05)
    assert not processes_of(tmp_path)  # the workers have ended as well
    if kind == signal.SIGINT:
        assert process.returncode == 1
        assert output.splitlines()[-1].startswith('interrupted'), output
        assert 'Traceback' not in output
    before = CSV.read_bytes()
    assert 2 <= len(read_rows()) < RUNS_A_SEED
    assert tool(*TABLE, '--seeds', '0')[0] == 0
    assert CSV.read_bytes().startswith(before)
    rows = read_rows()
    hashes = {row['config_hash'] for row in rows}
    assert len(rows) == RUNS_A_SEED == len(hashes)


def test_two_processes_do_not_work_in_one_folder(root, folder, tool):
    with scheduler._alone_in(folder / 'runs'):
        status, _ = tool(*TABLE)
    assert status.startswith('error: another process is at work in runs; wait')


def test_a_torn_last_line_is_survived(folder, tool):
    whole = CSV.read_text()
    CSV.write_text(whole[:-30])
    status, out = tool(*TABLE)
    assert status == 0
    assert 'results.csv: the last line was cut off and is left out' in out
    assert '[14/14] ResNet-20 SE, random mask #2, seed 1: ' in out
    assert out.count(' h left') == 1  # nothing else was trained
    old, new = whole.splitlines(), CSV.read_text().splitlines()
    assert new[:-1] == old[:-1] and len(new) == len(old)
    assert tool(*TABLE)[1].count('cut off') == 0


def test_two_tables_append_to_one_file(folder):
    first, *rest = Results(CSV).rows
    whole = CSV.read_bytes()
    CSV.write_bytes(whole + b'digits,cut off')
    one, other = Results(CSV), Results(CSV)
    other.append(rest[0])
    other.append(rest[1])
    one.append(first)
    assert Results(CSV).rows == [first, *rest, *rest[:2], first]
    assert CSV.read_bytes().startswith(whole)


def test_a_full_disk_leaves_the_rows_whole(folder):
    results, whole = Results(CSV), CSV.read_bytes()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, hard))
    try:
        with pytest.raises(OSError, match='No space left'):
            results.append(results.rows[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert CSV.read_bytes() == whole and len(results.rows) == 14
    results.append(results.rows[0])
    assert len(Results(CSV).rows) == 15


def test_the_time_left_is_that_of_the_runs_shared_among_the_jobs(tmp_path, capsys):
    table, results = Table('digits', attentions=['SE']), Results(tmp_path / 'new.csv')
    for jobs in (1, 2):
        run = next(due(table, results, set()))
        progress = scheduler._Progress(table, results, jobs)
        row = make_row(run.variant, run.seed, 90, train_seconds=1800, date='today')
        results.append({**row, **run.facts(), 'mask': '110-010-001'})
        progress.report(run)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith('[1/24] ') and first.endswith('; 11.5 h left')
    assert second.startswith('[2/24] ') and second.endswith('; 5.5 h left')


def test_a_damaged_line_is_named(folder):
    text = CSV.read_text()
    for damage in (text.replace(',plain,', ',', 1), text.replace(',1437,', ',x,', 1)):
        CSV.write_text(damage)
        with pytest.raises(EANError, match='results.csv, line 2 is damaged'):
            Results(CSV)
    CSV.write_text('a,b\n1,2\n')
    with pytest.raises(EANError, match='has other columns'):
        Results(CSV)


def test_a_failing_run_keeps_what_is_finished(tmp_path, monkeypatch, tool):
    monkeypatch.chdir(tmp_path)
    real = scheduler.execute

    def fail(run, work_dir):
        if run.variant == 'shared everywhere':
            raise EANError('the disk is full')
        return real(run, work_dir)

    monkeypatch.setattr(scheduler, 'execute', fail)
    status, _ = tool(*TABLE)
    assert status == 'error: the disk is full'
    assert [row['variant'] for row in read_rows()] == [
        'plain', 'search', 'unshared everywhere']  # fmt: skip


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--protocol', 'mini'], 'there is no data/cifar10; put it there or name its'),
        (['--data-root', 'nowhere'], 'there is no nowhere; put it there or name its'),
        (['--protocol', 'digits', '--attention', 'XX'], "no attention 'XX'; it has SE"),
        (['--protocol', 'digits', '--network', 'XX'], "no network 'XX'; it has ResNet"),
        (['--protocol', 'digits', '--only-report', '--report', 'x.md'], 'no file x.md'),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, monkeypatch, tool, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _ = tool('run_table.py', *arguments)
    assert status.startswith('error: ') and '\n' not in status
    assert message in status


DOCUMENT = """# Results
<!-- begin: digits -->
old
<!-- end: digits -->
Between.
<!-- begin: digits summary --><!-- end: digits summary -->
End.
"""


def cells(line):
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_the_report_has_the_numbers_of_the_file(folder, tool, no_training):
    Path('report.md').write_text(DOCUMENT)
    assert tool(*TABLE, '--only-report', '--report', 'report.md')[0] == 0
    text = Path('report.md').read_text()
    table = {tuple(cells(line)[:2]): cells(line) for line in text.splitlines()
             if line.startswith('| ')}  # fmt: skip
    rows = read_rows()

    values = percents(rows, 'shared everywhere')
    assert table['SE', 'shared everywhere'][2:4] == [
        '2', f'{values.mean():.2f} ± {values.std(ddof=1):.2f}']  # fmt: skip
    plain = int(rows_of(rows, 'plain')[0]['parameters'])
    assert table['none', 'plain'][4] == f'{plain:,} ± 0'

    means = [percents(rows, 'random mask', seed).mean() for seed in (0, 1)]
    assert table['SE', 'random mask'][2:4] == [
        '4', f'{np.mean(means):.2f} ± {np.std(means, ddof=1):.2f}']  # fmt: skip
    difference = percents(rows, 'searched mask') - means
    low, high = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
    written = f'{difference.mean():+.2f} ({low:+.2f} to {high:+.2f})'
    assert table['SE', 'searched - random mask'][2:4] == ['2', written]
    assert cells(text.partition('digits summary')[2].splitlines()[4])[-1] == written
    for row in rows_of(rows, 'searched mask'):
        assert f'{row["seed"]}: `{row["mask"]}`' in text
    hours = sum(float(row['train_seconds']) for row in rows) / 3600
    assert f'14 runs, {hours:.2f} hours' in text


def test_the_report_is_the_same_every_time(folder, tool, no_training):
    for name in ('one.md', 'other.md'):
        Path(name).write_text(DOCUMENT)
        assert tool(*TABLE, '--report', name)[0] == 0
    one = Path('one.md').read_bytes()
    assert one == Path('other.md').read_bytes()
    assert tool(*TABLE, '--report', 'one.md', 'other.md')[0] == 0
    assert one == Path('one.md').read_bytes() == Path('other.md').read_bytes()
    assert one.startswith(b'# Results\n<!-- begin: digits -->\n\n**ResNet-20**')
    assert b'old' not in one and b'\nBetween.\n' in one and one.endswith(b'End.\n')


def test_options_make_a_table_of_their_own(folder, tool, no_training):
    """Trials with other options do not get into the table of the protocol."""
    status, out = tool('run_table.py', '--protocol', 'digits', '--work-dir', 'runs',
                       '--only-report')  # fmt: skip
    assert status == 0 and out == 'No network has been trained yet.\n'


def test_a_document_without_a_place_is_refused(tmp_path):
    path = tmp_path / 'x.md'
    for text, message in (
        ('text', 'has no place for the results: add lines <!-- begin: a -->'),
        ('<!-- begin: a -->', 'without <!-- end: a --> after it'),
    ):
        path.write_text(text)
        with pytest.raises(EANError, match=message):
            fill(path, dict(a='1', b='2'))
        assert path.read_text() == text


def make_row(variant, seed, percent, attention='SE', **changes):
    row = dict(
        variant=variant, seed=seed, percent=percent, attention=attention,
        mask='110-010-001', parameters=1000, metric='accuracy/top1', epochs=1,
        iterations=9, train_images=9, test_images=5, train_seconds=1.0, threads=1,
        torch='2', machine='m', config_hash=f'{variant}{seed}{attention}')  # fmt: skip
    return {**row, **changes}


@pytest.fixture
def report():
    """Three seeds of SE, of which the last has no random masks yet, and one of DIA."""
    rows = [make_row('plain', seed, 80.0 + seed, 'none') for seed in range(3)]
    rows += [make_row('searched mask', s, p) for s, p in enumerate([82, 83, 90])]
    rows += [make_row('random mask #1', s, p) for s, p in enumerate([79, 81])]
    rows += [make_row('random mask #2', s, p) for s, p in enumerate([81, 82])]
    rows += [make_row('searched mask', 0, 70, 'DIA', parameters=1100),
             make_row('random mask #1', 0, 71, 'DIA')]  # fmt: skip
    return NetworkReport('net', rows)


def test_differences_are_paired_by_seed(report):
    random = 'random mask'
    assert report.differences('SE', random, 'percent') == [82 - 80, 83 - 81.5]
    assert report.differences('SE', 'plain', 'percent') == [2, 2, 8]
    assert report.differences('SE', 'shared everywhere', 'percent') == []
    assert report.differences('all together', random, 'percent') == [2, 1.5, -1]
    assert report.differences('all together', 'plain', 'percent') == []
    assert report.differences('all together', random, 'parameters') == []
    assert report.differences('DIA', random, 'parameters') == [100]


def test_a_partial_table_is_reported(report):
    text = report.markdown()
    assert 'shared everywhere' not in text  # nothing of it was trained
    assert '| DIA | searched - random mask | 1 | -1.00 | +100 |' in text
    better = report.claims().splitlines()[0]
    assert 'all together +0.83 (-3.16 to +4.83) points, no difference' in better


def test_epochs_are_of_loops_that_count_them(report):
    assert ' iterations (1 whole epochs), tested on ' in report.markdown()
    for row in report.trained:
        row['epochs'] = 0  # mmseg's loops count iterations
    assert ' iterations, tested on ' in report.markdown()


def test_the_report_says_what_became_of_the_claims():
    rows = [make_row('plain', s, 80.0 + s, 'none', parameters=900) for s in range(3)]
    rows += [make_row('unshared everywhere', s, 84.0 + s, parameters=1300)
             for s in range(3)]  # fmt: skip
    rows += [make_row('searched mask', s, 82.5 + s + 0.1 * s) for s in range(3)]
    rows += [make_row('random mask #1', s, p) for s, p in enumerate([81, 84, 85])]
    better, keeps, plain, fewer = NetworkReport('net', rows).claims().splitlines()
    assert 'SE +0.27 (-2.39 to +2.92) points, no difference shown' in better
    assert 'SE -1.40 (-1.65 to -1.15) points, less' in keeps
    assert 'SE +2.60 (+2.35 to +2.85) points, more' in plain
    assert fewer.endswith(
        '(what is added to the plain network): SE 100 instead of 400.'
    )


def test_the_interval_of_a_mean():
    values = [1.0, 2.0, 4.0]
    # mean 7/3, standard deviation 1.5275, quantile of t (2 degrees of freedom) 4.3027
    assert mean_interval(values) == pytest.approx([-1.4613, 6.1279], abs=1e-3)
    assert mean_interval([2.0, 2.0]) == [2, 2]
    assert mean_interval([2.0]) == [-np.inf, np.inf]


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples = rng.normal(1, 2, (2000, 4))
    covered = [low <= 1 <= high for low, high in map(mean_interval, samples.tolist())]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_random_masks_are_as_many_as_there_can_be():
    mask = Mask.parse('10-00', (2, 2))
    assert sorted(map(str, random_masks(mask, 5, seed=0))) == [
        '00-01', '00-10', '01-00']  # fmt: skip
    assert random_masks(Mask.parse('all', (2, 2)), 3, seed=0) == []
    large = Mask.parse('101-011-100', (3, 3, 3))
    assert random_masks(large, 3, 0) == random_masks(large, 3, 0)
    assert random_masks(large, 3, 0) != random_masks(large, 3, 1)


def test_sampled_masks_have_every_number_of_bits():
    masks = sampled_masks(Mask.parse('all', (2, 2)), seed=0)
    numbers = [next(masks).num_connections for _ in range(1000)]
    assert np.bincount(numbers).min() > 150


def test_mini_is_a_short_form_of_the_config():
    table = Table('mini')
    run = table.run('ResNet-20', 'DIA', 'searched mask', 1, '110-010-001')
    cfg = run.cfg
    assert cfg.train_cfg.max_epochs == 20
    assert cfg.param_scheduler.milestones == [10, 15]  # 81 and 122 of 164
    assert cfg.train_dataloader.dataset.num_per_class == 1000
    assert cfg.test_dataloader.dataset.type == 'CustomDataset'  # all test images
    assert cfg.val_dataloader is None
    assert cfg.model.backbone.attention == dict(type='DIAAttention', ratio=4)

    search = table.run('ResNet-20', 'DIA', 'search', 1).cfg
    held_out, trained = search.val_dataloader.dataset, search.train_dataloader.dataset
    part = {k: v for k, v in trained.dataset.items() if k != 'dataset'}
    assert part == {k: v for k, v in held_out.dataset.items() if k != 'dataset'}
    assert part['held_out'] and part['num_per_class'] == 1000
    assert (trained.held_out, held_out.held_out) == (False, True)
    assert trained.num_per_class == held_out.num_per_class == 100
    assert part == {k: v for k, v in cfg.train_dataloader.dataset.items()
                    if k != 'dataset'}  # fmt: skip


@pytest.mark.parametrize(
    'config, attention, variant, mask',
    [
        ('resnet20_cifar10-10k', 'none', 'plain', 'none'),
        ('resnet20_se_everywhere_cifar10-10k', 'SE', 'shared everywhere', 'all'),
        ('resnet20_se_cifar10-10k', 'SE', 'searched mask', 'masks/resnet20_se_cifar10'),
    ],
)
def test_the_configs_of_10k_images_train_as_mini_does(
    root, config, attention, variant, mask
):
    cfg = Config.fromfile(root / f'configs/ean/{config}.py')
    run = Table('mini').run('ResNet-20', attention, variant, 0, mask).cfg
    for part in ('data_preprocessor', 'optim_wrapper', 'param_scheduler', 'model.head',
                 'model.backbone.attention', 'model.backbone.depth',
                 'train_cfg.max_epochs', 'train_dataloader.batch_size',
                 'train_dataloader.dataset',
                 'test_dataloader.dataset.data_prefix'):  # fmt: skip
        one, other = cfg, run
        for key in part.split('.'):
            one, other = one[key], other[key]
        assert one == other, part
    assert cfg.model.backbone.mask.startswith(mask)


def test_full_has_the_schedule_and_the_images_of_the_config():
    run = Table('full').run('ResNet-164', 'SE', 'shared everywhere', 0, 'all')
    assert run.cfg.train_cfg.max_epochs == 164
    assert run.cfg.param_scheduler.milestones == [81, 122]
    assert run.cfg.train_dataloader.dataset.type == 'CustomDataset'
    init_default_scope('mmpretrain')
    model = MODELS.build(run.cfg.model)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize('network', Table('full').networks)
def test_sge_has_channels_to_compare_in_a_group(network):
    run = Table('full').run(network, 'SGE', 'shared everywhere', 0, 'all')
    init_default_scope('mmpretrain')
    model = MODELS.build(run.cfg.model)
    sizes = {
        module.channels // module.groups
        for module in model.modules()
        if isinstance(module, SGEAttention)
    }
    assert sizes == {4, 8, 16}


@pytest.mark.parametrize('network', Table('transfer').networks)
def test_transfer_takes_a_mask_that_is_given(network, tmp_path):
    table = Table('transfer', [network])
    runs = list(table.runs(Results(tmp_path / 'none.csv')))
    assert len(runs) == len(table) == 3 * 7
    assert [run.variant for run in runs[:7]] == [
        'plain', 'unshared everywhere', 'shared everywhere', 'searched mask',
        'random mask #1', 'random mask #2', 'random mask #3']  # fmt: skip
    assert [run.mask for run in runs[:4]] == ['none', 'all', 'all', '01-10-01-10']
    assert {run.mask.count('1') for run in runs[3:7]} == {4}
    assert runs[0].cfg.model.backbone.attention is None


@pytest.mark.parametrize(
    'variants, expected',
    [
        (['plain', 'shared'], ['plain', 'shared everywhere']),
        (['searched', 'random'], ['search', 'searched mask', 'random mask #1',
                                  'random mask #2']),
        (['random'], ['search', 'random mask #1', 'random mask #2']),
    ],
    ids=str,
)  # fmt: skip
def test_some_of_the_variants(folder, variants, expected):
    table = Table('digits', attentions=['SE'], seeds=[0], random_masks=2,
                  variants=variants, options=OPTIONS,
                  search_options=SEARCH_OPTIONS)  # fmt: skip
    assert [run.variant for run in table.runs(Results(CSV))] == expected
    assert len(table) == len(expected)
    given = Table('transfer', ['FCN-18, CamVid'], variants=variants, seeds=[0, 1])
    runs = [run.variant for run in given.runs(Results('none.csv'))]
    assert 'search' not in runs and len(runs) == len(given)


@pytest.mark.parametrize('network', Table('transfer-mini').networks)
def test_networks_of_half_width_are_the_same_but_narrower(network):
    narrow = Table('transfer-mini', [network]).run(network, 'SE', 'searched mask', 0,
                                                   '01-10-01-10').cfg  # fmt: skip
    name = network.replace(', half width', '')
    wide = Table('transfer', [name]).run(name, 'SE', 'searched mask', 0,
                                         '01-10-01-10').cfg  # fmt: skip
    for key in set(RESULT_KEYS) - {'model'}:
        assert narrow.get(key) == wide.get(key), key
    init_default_scope(narrow.default_scope)
    sizes = [
        {
            key: value.shape
            for key, value in MODELS.build(cfg.model).state_dict().items()
        }
        for cfg in (narrow, wide)
    ]
    assert sizes[0].keys() == sizes[1].keys()
    ratios = {
        a[0] / b[0]
        for key in sizes[0]
        if key.startswith('backbone') and (a := sizes[0][key]) and (b := sizes[1][key])
    }
    assert ratios == {0.5}


RANKING = ['rank_correlation.py', '--seeds', '0', '1', '--random-masks', '2',
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


def test_the_documents_numbers_are_those_of_the_csv(root, tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = ('--only-report', '--csv', root / 'docs/data/results.csv', '--report')
    for name in ('docs/results.md', 'README.md'):
        shutil.copy(root / name, tmp_path)
    for protocol in ('mini', 'full', 'transfer-mini', 'transfer'):
        assert (
            tool('run_table.py', '--protocol', protocol, *results, 'results.md')[0] == 0
        )
    assert tool('run_table.py', '--protocol', 'mini', *results, 'README.md')[0] == 0
    assert tool('rank_correlation.py', *results, 'results.md')[0] == 0
    for name in ('docs/results.md', 'README.md'):
        assert (tmp_path / Path(name).name).read_text() == (root / name).read_text()


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
