"""The benchmark of inference times: pairs, records, the files it writes. No timings."""

import json
import runpy
import subprocess
import sys

import numpy as np
import pytest
import torch
from benchmarked import by_label

import benchmark_report
from benchmark_plot import draw_benchmark
from benchmark_records import Setting, make_records, paired_ratio
from benchmark_timing import Form, Runs, time_rounds
from ean_mm.deploy.runtimes import RUNTIMES

SETTING = dict(deployed=True, memory_format='channels_last', batch=2, threads=1)


@pytest.fixture(scope='module')
def path(root):
    return root / 'tools/analysis_tools/benchmark.py'


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def run(path, monkeypatch, capsys):
    """Run the tool in this process; return its exit status and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', [path.name, *map(str, arguments)])
        try:
            runpy.run_path(str(path), run_name='__main__')
            status = 0
        except SystemExit as error:
            status = error.code
        return status, capsys.readouterr().out

    return run


def records_of_rounds(rng, repeat=1, slower=1.0):
    """Records of three rounds, whose ratios are known."""
    times = dict(
        zip(
            by_label(attention=['SE'], references=['mmpretrain']).values(),
            [
                [10.0, 20.0, 40.0],  # plain
                [12.0, 24.0, 60.0],  # SE unshared
                [11.0 * slower, 22.0 * slower, 44.0 * slower],  # SE shared
                [11.0, 21.0, 41.0],  # SE mask
                [20.0, 40.0, 80.0],  # mmpretrain ResNet
                [30.0, 48.0, 88.0],  # mmpretrain SEResNet
            ],
        )
    )
    records = make_records(times, Setting(**SETTING), repeat, rng)
    for record in records:
        record.update(parameters=1_000_000, flops=2_000_000)
    return records


def test_every_round_runs_every_network_once_in_changing_order(rng):
    calls = []

    class Recording(torch.nn.Module):
        def __init__(self, number):
            super().__init__()
            self.number = number

        def forward(self, x):
            assert torch.is_inference_mode_enabled()
            assert int(x) == self.number  # its own images
            calls.append(self.number)

    pairs = [(Recording(number), torch.tensor(number)) for number in range(5)]
    times = time_rounds(pairs, 12, rng)
    assert times.shape == (5, 12) and times.min() > 0
    orders = [tuple(calls[start : start + 5]) for start in range(0, 60, 5)]
    assert len(calls) == 60 and len(set(orders)) > 1
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)


def test_times_are_compared_within_a_round(rng):
    # The medians of the times are equal, those of the rounds' ratios are not.
    ratio, interval = paired_ratio([1.0, 2.0, 3.0], [2.0, 4.0, 1.0], rng)
    assert ratio == 0.5
    assert interval == [0.5, 3.0]  # a sample has the 3 twice with probability 7 / 27


def test_the_interval_has_no_width_where_rounds_agree(rng):
    assert paired_ratio([3.0, 6.0], [2.0, 4.0], rng) == (1.5, [1.5, 1.5])


def test_the_interval_covers_the_median_as_often_as_it_says(rng):
    covered = 0
    for _ in range(200):
        _, (low, high) = paired_ratio(rng.normal(1, 0.1, 41), np.ones(41), rng)
        covered += low <= 1 <= high
    assert 0.88 < covered / 200 <= 1


def test_records_hold_the_setting_and_the_numbers(rng):
    records = {record['label']: record for record in records_of_rounds(rng)}
    shared = records['SE shared']
    assert shared['network'] == 'EANResNet-50' and shared['variant'] == 'shared'
    assert shared['setting'] == 'deployed, channels last, batch 2, 1 thread'
    assert {key: shared[key] for key in SETTING} == SETTING
    assert shared['repeat'] == 1
    assert shared['median_ms'] == 22 and shared['quartiles_ms'] == [16.5, 33]
    assert shared['times_ms'] == [11, 22, 44]
    assert shared['rti'] == pytest.approx(10)
    assert shared['rti_interval'] == pytest.approx([10, 10])
    assert records['SE unshared']['rti'] == pytest.approx(20)
    assert records['SE mask']['mask'] == '101-1010-101010-101'
    assert records['plain']['rti'] is None
    assert json.loads(json.dumps(records)) == records


def test_every_network_is_compared_with_mmpretrains_as_its_users_run_them(rng):
    records = {record['label']: record for record in records_of_rounds(rng)}
    ratios = records['plain']['ratio_to']
    assert ratios['mmpretrain ResNet'] == dict(ratio=0.5, interval=[0.5, 0.5])
    # 10 / 30, 20 / 48 and 40 / 88
    assert ratios['mmpretrain SEResNet']['ratio'] == pytest.approx(20 / 48)
    theirs = records['mmpretrain SEResNet']
    assert not theirs['deployed'] and theirs['memory_format'] == 'contiguous'
    # 30 / 20, 48 / 40 and 88 / 80: over their own plain network
    assert theirs['rti'] == pytest.approx(20)


def test_repeats_merge_to_their_median_and_the_hull_of_their_intervals(rng):
    records = [
        record
        for repeat, slower in ((1, 1.0), (2, 1.5), (3, 1.1))
        for record in records_of_rounds(rng, repeat, slower)
    ]
    [group] = benchmark_report.merge(records).values()
    assert group['SE shared']['rti'] == pytest.approx(21)
    assert group['SE shared']['rti_interval'] == pytest.approx([10, 65])
    assert group['SE shared']['median_ms'] == pytest.approx(24.2)
    assert group['plain']['ratio_to']['mmpretrain ResNet'] == 0.5


@pytest.mark.slow
def test_a_run_writes_a_record_a_measurement_and_a_figure(path, tmp_path):
    out, figure = tmp_path / 'results/times.json', tmp_path / 'times.svg'
    result = subprocess.run(
        [sys.executable, path, '--depth', '18', '--image-size', '32', '--rounds', '2',
         '--repeats', '1', '--attention', 'SE', '--batch', '1', '2', '--threads', '1',
         '--memory-format', 'channels_last', '--out', out, '--figure', figure,
         '--references', 'mmpretrain', '--device', 'cpu'],
        capture_output=True, text=True)  # fmt: skip
    assert result.returncode == 0, result.stderr
    content = json.loads(out.read_text())
    assert content['network'] == 'EANResNet-18' and content['image_size'] == 32
    records = content['records']
    # 5 networks, 2 batch sizes, as trained and deployed
    assert len(records) == 5 * 2 * 2
    for record in records:
        assert len(record['times_ms']) == 2 and min(record['times_ms']) > 0
        assert record['median_ms'] == pytest.approx(np.mean(record['times_ms']), 1e-3)
        assert record['parameters'] > 11e6 and record['flops'] > 30e6
        assert record['ratio_to']['mmpretrain ResNet']['ratio'] > 0
        assert (record['rti'] is None) == (record['attention'] is None)
        assert record['threads'] == 1 and record['batch'] in (1, 2)
    ours = [record for record in records if record['source'] == 'ean_mm']
    assert {record['deployed'] for record in ours} == {False, True}
    assert figure.read_text().startswith('<?xml')
    for text in ('SE mask', '11-10-10-11', 'deployed, channels last, batch 2, 1 thr'):
        assert text in result.stdout
    assert result.stderr.count('repeat 1 of 1: ') == 4


@pytest.mark.slow
@pytest.mark.parametrize('runtime', ['torch', 'openvino', 'onnxruntime', 'compile'])
def test_a_runtime_runs_the_networks_that_are_timed(runtime, tmp_path):
    if runtime in RUNTIMES:
        pytest.importorskip(runtime)
    models = [torch.nn.Conv2d(3, channels, 3).eval() for channels in (4, 5)]
    images = torch.randn(2, 3, 8, 8)
    named = dict(zip(by_label().values(), models))
    runs = Runs(named, Form(True, 'contiguous', runtime), images, str(tmp_path))
    with torch.inference_mode():
        for call, model in zip(runs.open(), models, strict=True):
            out = call(images)
            out = out if isinstance(out, torch.Tensor) else out[0]
            torch.testing.assert_close(out, model(images))


@pytest.mark.slow
def test_all_networks_are_timed_in_openvino(run, tmp_path):
    pytest.importorskip('openvino')
    status, out = run(
        '--depth', 18, '--image-size', 32, '--rounds', 2, '--repeats', 1, '--attention',
        'SE', '--batch', 1, '--threads', 1, '--runtime', 'openvino', '--references',
        'mmpretrain', '--device', 'cpu', '--out', tmp_path / 'times.json')  # fmt: skip
    assert status == 0, status
    records = json.loads((tmp_path / 'times.json').read_text())['records']
    assert len(records) == 5
    assert {each['setting'] for each in records} == {'openvino, f32, batch 1, 1 thread'}
    assert "mmpretrain's, in the same runtime" in ' '.join(out.split())


@pytest.mark.slow
def test_training_steps_are_timed_and_their_memory_measured(path, tmp_path):
    out = tmp_path / 'training.json'
    result = subprocess.run(
        [sys.executable, path, '--training', '--depth', '18', '--image-size', '32',
         '--rounds', '2', '--repeats', '1', '--attention', 'SE', '--batch', '2',
         '--threads', '1', '--memory-format', 'channels_last', '--out', out,
         '--references', 'mmpretrain', '--device', 'cpu'],
        capture_output=True, text=True)  # fmt: skip
    assert result.returncode == 0, result.stderr
    records = json.loads(out.read_text())['records']
    assert len(records) == 5
    for record in records:
        assert record['training'] and not record['deployed']
        assert record['memory_format'] == 'channels_last'  # mmpretrain's too
        # Weights, gradients and momentum are 4 bytes a parameter each.
        assert record['peak_mib'] > 3 * 4 * record['parameters'] / 2**20
    assert 'training, channels last, batch 2, 1 thread' in result.stdout
    assert 'MiB' in result.stdout


def test_the_profile_lists_operators_and_the_time_between_them(path):
    result = subprocess.run(
        [sys.executable, path.parent / 'profile_inference.py', '--depth', '18',
         '--image-size', '32', '--passes', '2', '--attention', 'SE', 'SGE'],
        capture_output=True, text=True)  # fmt: skip
    assert result.returncode == 0, result.stderr
    lines = [line.rsplit(maxsplit=3) for line in result.stdout.splitlines()]
    rows = {name.strip(): cells for name, *cells in lines}
    assert rows['operator'] == ['plain', 'SE', 'SGE']
    plain, se, sge = (float(cell) for cell in rows['all operators'])
    assert plain > 0 and se > 0 and sge > 0
    assert len(rows['between operators']) == len(rows['a pass']) == 3


def test_a_figure_is_drawn_again_without_measuring(rng, run, tmp_path):
    source, figure = tmp_path / 'times.json', tmp_path / 'times.png'
    result = dict(network='EANResNet-50', image_size=224)
    source.write_text(json.dumps(dict(result, records=records_of_rounds(rng))))
    status, out = run('--from', source, '--figure', figure)
    assert status == 0 and figure.read_bytes().startswith(b'\x89PNG')
    assert '+10.0' in out and 'mmpretrain SEResNet' in out


def test_the_figure_has_a_bar_for_every_attention_network(rng):
    records = records_of_rounds(rng)
    result = dict(network='EANResNet-50', image_size=224, records=records)
    figure = draw_benchmark(result)
    [ax] = figure.axes
    assert [text.get_text() for text in ax.texts] == ['+20.0', '+20.0', '+10.0', '+5.0']
    assert [round(bar.get_width()) for bar in ax.patches] == [20, 20, 10, 5]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ['mmpretrain SEResNet', 'unshared', 'shared', 'mask']
    assert ax.get_title(loc='left') == 'SE'


@pytest.mark.parametrize(
    'options, message',
    [
        (['--depth', '19'], '--depth 19 is unknown; there are 18, 34'),
        (['--batch', '0'], '--batch must be at least 1'),
        (['--masks', '10-1'], 'does not fit stages of 3-4-6-3 blocks'),
        (['--masks', 'nowhere.json'], 'there is no mask file'),
        (['--attention', 'XY', '--out', 'x.json'], "'XYAttention' is not registered"),
        (['--device', 'nothing'], '--device nothing cannot be used'),
        (['--training', '--runtime', 'compile'], 'with --runtime torch alone'),
        (['--figure', 'picture.docx'], 'name a .png, .svg or .pdf file'),
        (['--out', 'empty.json/x.json'], 'x.json cannot be written'),
        (['--from', 'nowhere.json'], 'nowhere.json cannot be read'),
        (['--from', 'other.json'], 'other.json is not a result of this tool'),
        (['--from', 'empty.json'], 'empty.json holds no measurement yet'),
    ],
)
def test_mistakes_are_one_line(run, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'other.json').write_text('[{"mask": "10"}]')
    (tmp_path / 'empty.json').write_text('{"records": []}')
    status, _ = run(*options)
    assert isinstance(status, str) and status.startswith('error: ')
    assert message in status and '\n' not in status
