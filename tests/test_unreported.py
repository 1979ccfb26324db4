"""Masks of which an evaluator says nothing, as where nothing is detected."""

import math

import pytest
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, METRICS
from mmengine.runner import Runner
from searches import history
from semi_supervised import soft_teacher_config

from ean_mm import EANError
from ean_mm.search import Reward
from ean_mm.search.evaluation.base import Measurement
from ean_mm.search.evaluation.metric_reader import MetricReader


@METRICS.register_module()
class ListedMetric(BaseMetric):
    """Reports of one mask after the other what a test wants."""

    reports = []

    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        return self.reports.pop(0)


@HOOKS.register_module()
class StopHook(Hook):
    """Stops the first search after a step."""

    stops = True

    def after_search_step(self, runner, record):
        if StopHook.stops:
            StopHook.stops = False
            raise KeyboardInterrupt


@pytest.fixture
def config(digits_config):
    """Two steps of two masks; the run itself validates nothing."""
    hook = digits_config.custom_hooks[2]
    hook.searcher = dict(type='RandomSearcher', num_steps=2, masks_per_step=2)
    hook.reward = dict(metric='score', unit='fraction', sparsity_weight=0.0)
    digits_config.train_cfg.val_begin = 10
    digits_config.val_evaluator = dict(type='ListedMetric')
    digits_config.log_level = 'INFO'
    return digits_config


def judged(cfg):
    return [
        (pytest.approx(entry['metric']), entry.get('unreported', False))
        for record in history(cfg.work_dir)
        if not record.get('policy_mode')
        for entry in record['masks']
    ]


MIXED = [dict(score=0.5), {}, dict(score=math.nan), dict(score=0.7)]


@pytest.mark.parametrize(
    'evaluation', [None, dict(type='TrainedEvaluation', budget=4)], ids=['net', 'own']
)
def test_a_mask_without_the_metric_has_the_worst_and_is_counted(
    config, build_runner, monkeypatch, capsys, evaluation
):
    monkeypatch.setattr(ListedMetric, 'reports', list(MIXED))
    config.custom_hooks[2].evaluation = evaluation
    build_runner(config).train()
    assert judged(config) == [(50, False), (0, True), (0, True), (70, False)]
    assert '2 of 4 masks have no score' in capsys.readouterr().out


@pytest.mark.parametrize('report', [{}, dict(score=math.nan), dict(other=1.0)])
def test_a_metric_that_no_mask_of_the_first_step_has_is_refused(
    config, build_runner, monkeypatch, report
):
    monkeypatch.setattr(ListedMetric, 'reports', [report, report, *MIXED])
    with pytest.raises(EANError, match="reports no 'score'|score is nan"):
        build_runner(config).train()


def test_where_lower_is_better_there_is_no_worst(config, build_runner, monkeypatch):
    monkeypatch.setattr(ListedMetric, 'reports', list(MIXED))
    config.custom_hooks[2].reward.weight = -1.0
    with pytest.raises(EANError, match="reports no 'score'"):
        build_runner(config).train()


def test_a_resumed_search_knows_the_metric(config, build_runner, monkeypatch):
    monkeypatch.setattr(ListedMetric, 'reports', [*MIXED[:2], {}, {}])
    monkeypatch.setattr(StopHook, 'stops', True)
    config.custom_hooks.append(dict(type='StopHook'))
    with pytest.raises(KeyboardInterrupt):
        build_runner(config).train()
    config.resume = True
    config.load_from = f'{config.work_dir}/epoch_1.pth'
    build_runner(config).train()
    assert judged(config) == [(50, False), (0, True), (0, True), (0, True)]


@pytest.mark.slow
def test_a_detector_that_detects_nothing_is_searched_to_the_end(tmp_path, capsys):
    """mmdet's CocoMetric then reports nothing, of no mask at all."""
    cfg = soft_teacher_config(tmp_path)
    cfg.model.detector.test_cfg.rcnn.score_thr = 1.1
    Runner.from_cfg(cfg).train()
    entries = judged(cfg)
    assert entries == [(0, True), (0, True)]
    assert '2 of 2 masks have no teacher/coco/bbox_mAP' in capsys.readouterr().out


@pytest.mark.parametrize(
    'metric, options, known',
    [
        ('coco/bbox_mAP', {}, True),
        ('teacher/coco/bbox_mAP_50', {}, True),
        ('coco/bbox_map', {}, False),
        ('bbox_mAP', {}, False),
        ('coco/segm_mAP', {}, False),
        ('coco/segm_mAP', dict(metric=['bbox', 'segm']), True),
        ('coco/bbox_mAP_50', dict(metric_items=['mAP']), False),
    ],
)
def test_a_misspelt_metric_of_a_detector_that_detects_nothing_is_refused(
    metric, options, known
):
    coco = pytest.importorskip('mmdet.evaluation').CocoMetric(**options)
    reader = MetricReader(Reward(metric=metric), Evaluator(coco))
    nothing = Measurement(metrics={})
    if known:
        assert reader.read([nothing]) == [Measurement({}, 0.0, unreported=True)]
    else:
        with pytest.raises(EANError, match=f"reports no '{metric}'"):
            reader.read([nothing])
