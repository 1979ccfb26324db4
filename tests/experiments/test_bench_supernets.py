"""Supernets by the protocol of a bench, and the scores of masks in them."""

import copy
import csv
import math
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from test_bench import OPTIONS, ROOT

from ean_mm.search.evaluation.calibration import BNCalibration
from studies.bench import Bench
from studies.bench.scores import counted_masks, score_masks
from studies.bench.supernet import (
    SUPERNETS,
    FineTuning,
    Recipe,
    SnapshotHook,
    SupernetTraining,
)

TINY = [
    'experiments/bench_supernets.py', '--protocol', 'digits', '--attention', 'SE',
    '--supernets', 'as published', '--seeds', '0', '--folder', '.',
    '--work-dir', 'runs',
    '--cfg-options', *(f'{key}={value}' for key, value in OPTIONS.items()),
]  # fmt: skip
CSV = Path('supernets_se.csv')
SOME = [counted_masks()[number] for number in (0, 5, 300, 511)]


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A folder with the scores in a supernet."""
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


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A supernet's training, and its weights."""
    bench = Bench('digits', 'SE', tmp_path_factory.mktemp('work'), options=OPTIONS)
    cfg = bench.config(0)
    training = SupernetTraining(cfg, 0, SUPERNETS['balanced, decayed'])
    return cfg, training, training.states()


def read_rows(folder):
    with open(folder / CSV, newline='') as file:
        return list(csv.DictReader(file))


def test_every_way_of_scoring_is_a_row_with_all_masks(folder):
    rows = read_rows(folder)
    assert [row['scores'] for row in rows] == [
        'own statistics', 'batch statistics', 'snapshots averaged']  # fmt: skip
    for row in rows:
        accuracies = list(map(float, row['accuracies'].split()))
        losses = list(map(float, row['losses'].split()))
        assert len(accuracies) == len(losses) == 512
        assert all(0 <= value <= 100 for value in accuracies)
        assert all(0 < value < 20 for value in losses)
        assert row['supernet'] == 'as published' and row['train_epochs'] == '2'
        assert 0 < float(row['mask_epochs']) < 2
    assert len({row['losses'] for row in rows}) >= 2


def test_what_is_done_is_not_done_again_and_what_was_cut_off_is(
    folder, tool, monkeypatch
):
    lines = (folder / CSV).read_text().splitlines(keepends=True)
    (folder / CSV).write_text(''.join(lines[:-1]) + lines[-1][:500])
    status, output = tool(*TINY)
    assert status == 0 and output.count(', seed 0: an epoch takes') == 1
    for name in ('scores', 'accuracies', 'losses'):  # everything comes from the seed
        assert read_rows(folder)[2][name] == list(csv.DictReader(lines))[2][name]

    def refuse(training):
        raise AssertionError('a supernet is trained')

    monkeypatch.setattr(SupernetTraining, 'states', refuse)
    before = (folder / CSV).read_text()
    assert tool(*TINY)[0] == 0
    assert (folder / CSV).read_text() == before


def test_supernets_of_another_protocol_are_refused(folder, tool):
    status, _ = tool(*TINY, 'optim_wrapper.optimizer.lr=0.01')
    assert status.startswith('error: supernets_se.csv has supernets of another ')


def test_a_score_is_what_the_network_with_the_mask_has(trained):
    _, training, (last, _, _) = trained
    network = training.network(last)
    batches = training.images.measured['reward']
    scores = score_masks(network, SOME, batches)
    labels = torch.cat([label for _, label in batches])
    for mask, (accuracy, loss) in zip(SOME, scores):
        training.space.like(network).apply(mask)
        with torch.no_grad():
            logits = torch.cat([network(x, mode='tensor') for x, _ in batches])
        right = (logits.argmax(dim=1) == labels).double().mean()
        assert accuracy == pytest.approx(100 * right.item(), abs=1e-6)
        expected = torch.nn.functional.cross_entropy(logits, labels)
        assert loss == pytest.approx(expected.item(), rel=1e-4)


def test_batch_statistics_are_those_that_calibration_finds(trained):
    _, training, (last, _, _) = trained
    network = training.network(last)
    batches = training.images.measured['reward']
    images = training.calibration_images()
    assert len(images) >= 256
    scores = score_masks(network, SOME, batches, images)
    assert not any('forward' in vars(each) for each in network.modules())
    labels = torch.cat([label for _, label in batches])
    calibration = BNCalibration(network, [])
    for mask, (_, loss) in zip(SOME, scores):
        training.space.like(network).apply(mask)
        calibration.adapt()  # on no batches: it only prepares the layers
        for layer in calibration.layers:
            layer.train()
        with torch.no_grad():
            network(images, mode='tensor')
            network.eval()
            logits = torch.cat([network(x, mode='tensor') for x, _ in batches])
        expected = torch.nn.functional.cross_entropy(logits, labels)
        assert loss == pytest.approx(expected.item(), rel=0.02)


def test_a_supernet_trains_random_masks_by_its_recipe(trained, monkeypatch):
    cfg, _, (last, mean, seconds) = trained
    assert seconds > 0 and last.keys() == mean.keys()
    longer = SUPERNETS['balanced, decayed, twice as long'].applied(cfg)
    assert longer.train_cfg.max_epochs == 4
    (scheduler,) = longer.param_scheduler
    assert list(scheduler['milestones']) == [
        2 * n for n in cfg.param_scheduler['milestones']
    ]
    assert Recipe().applied(cfg).param_scheduler == []

    masks = []
    training = SupernetTraining(cfg, 0, Recipe('balanced'))
    apply = type(training.space).apply

    def record(space, bits):
        masks.append(tuple(bits))
        apply(space, bits)

    monkeypatch.setattr(type(training.space), 'apply', record)
    training.train((0,) * 9)
    iterations = masks[-training.iterations :]
    assert len({sum(mask) for mask in iterations}) > 2


def test_snapshots_are_averaged():
    model = torch.nn.Linear(1, 1)
    runner = type('Runner', (), dict(model=model, iter=0))()
    hook = SnapshotHook(begin=10)
    for value, done in ((1, 10), (2, 20), (3, 25), (6, 30), (7, 40)):
        model.weight.data.fill_(value)
        runner.iter = done - 1
        hook.after_train_iter(runner, 0)
    assert hook.mean['weight'].item() == pytest.approx((2 + 6 + 7) / 3)


def test_masks_are_fine_tuned_from_the_supernet(trained):
    cfg, training, (last, _, _) = trained
    before = copy.deepcopy(last)
    images = training.calibration_images()
    scores = [
        FineTuning(cfg, 0, last, training.images).scores(SOME[:2], images)
        for _ in range(2)
    ]
    assert scores[0] == scores[1] and scores[0][0] != scores[0][1]
    assert all(math.isfinite(loss) for _, loss in scores[0])
    assert all(torch.equal(last[name], before[name]) for name in last)
    start = score_masks(
        training.network(last), SOME[:2], training.images.measured['reward'], images
    )
    assert scores[0] != start
