"""Momentum teachers have their student's mask; frozen networks keep theirs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier
from searches import history
from semi_supervised import soft_teacher_config

from ean_mm import EANError, Mask
from ean_mm.models import masked_modules
from ean_mm.search import SearchSpace

STUDENT, TEACHER = '110-010-001', '101-101-101'
SELF_SUPERVISED = dict(
    byol=dict(
        type='mmpretrain.BYOL',
        neck=dict(
            type='NonLinearNeck', in_channels=16, hid_channels=8, out_channels=8,
            num_layers=2, with_avg_pool=True,
        ),
        head=dict(
            type='LatentPredictHead',
            loss=dict(type='CosineSimilarityLoss'),
            predictor=dict(
                type='NonLinearNeck', in_channels=8, hid_channels=8, out_channels=8,
                with_bias=True, with_last_bn=False, with_avg_pool=False,
            ),
        ),
    ),
    moco=dict(
        type='mmpretrain.MoCo', queue_len=64, feat_dim=8, momentum=0.01,
        neck=dict(type='MoCoV2Neck', in_channels=16, hid_channels=8, out_channels=8,
                  with_avg_pool=True),
        head=dict(type='ContrastiveHead', temperature=0.2,
                  loss=dict(type='CrossEntropyLoss')),
    ),
)  # fmt: skip


@MODELS.register_module()
class Distilled(ImageClassifier):
    """A classifier that holds a frozen network to learn from."""

    def __init__(self, teacher, **kwargs):
        super().__init__(**kwargs)
        self.teacher = MODELS.build(teacher).requires_grad_(False)


@HOOKS.register_module()
class TwoMasksHook(Hook):
    """Notes the masks of all masked modules at every iteration."""

    priority = 'LOW'

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        modules = masked_modules(runner.model).values()
        self.seen.append([str(module.mask) for module in modules])


@pytest.fixture
def distilled_config(digits_config):
    model = digits_config.model
    teacher = dict(model.backbone, mask=TEACHER)
    digits_config.model = dict(model, type='Distilled', teacher=teacher)
    digits_config.custom_hooks.append(dict(type='TwoMasksHook'))
    return digits_config


def test_a_frozen_teacher_is_not_searched_and_keeps_its_mask(
    distilled_config, build_runner
):
    runner = build_runner(distilled_config)
    assert list(SearchSpace(runner.model).modules) == ['backbone']
    runner.train()
    seen = np.array(_seen(runner))
    assert len(set(seen[:, 0])) > 5 and set(seen[:, 1]) == {TEACHER}
    work_dir = Path(distilled_config.work_dir)
    files = [path.name for path in work_dir.glob('mask_*.json')]
    assert files == ['mask_backbone.json']
    assert str(runner.model.teacher.mask) == TEACHER
    checkpoint = torch.load(work_dir / 'epoch_1.pth', weights_only=True)
    assert checkpoint['meta']['ean_mm']['masks']['teacher'] == TEACHER


def _seen(runner):
    return next(h for h in runner.hooks if isinstance(h, TwoMasksHook)).seen


def test_modules_to_search_are_named(distilled_config, build_runner):
    """By name even a frozen one is searched; both hooks must mean the same."""
    hooks = distilled_config.custom_hooks
    supernet = next(hook for hook in hooks if hook.type == 'SupernetHook')
    supernet.modules = ['teacher']
    runner = build_runner(distilled_config)
    runner.train()
    seen = np.array(_seen(runner))
    assert len(set(seen[:, 0])) == 1 and len(set(seen[:, 1])) > 5
    assert Path(distilled_config.work_dir, 'mask_teacher.json').exists()
    for modules, message in (
        (['backbone'], 'searches backbone, and SupernetHook trains teacher'),
        (['neck'], r"modules=\['neck'\] are none with a mask .* backbone, teacher"),
    ):
        hooks[2].modules = modules
        runner = build_runner(distilled_config)
        with pytest.raises(EANError, match=message):
            runner.train()
        assert runner.iter == 0


def test_a_model_with_nothing_to_train_says_how_to_name_it(digits_config, build_runner):
    model = build_runner(digits_config).model.requires_grad_(False)
    with pytest.raises(EANError, match=r"backbone are frozen.*modules=\['backbone'\]"):
        SearchSpace(model)
    assert SearchSpace(model, ['backbone']).num_bits == 9


@pytest.mark.parametrize('name', SELF_SUPERVISED)
def test_a_momentum_teacher_has_its_students_mask(digits_config, build_runner, name):
    cfg = digits_config
    cfg.model = dict(SELF_SUPERVISED[name], backbone=cfg.model.backbone)
    cfg.data_preprocessor = None
    cfg.model.data_preprocessor = dict(
        type='SelfSupDataPreprocessor', mean=[127.5], std=[127.5]
    )
    views = [dict(type='RandomCrop', crop_size=8, padding=1)]
    cfg.train_dataloader.drop_last = True  # the queue takes whole batches
    cfg.train_dataloader.dataset.dataset.pipeline = [
        dict(type='MultiView', num_views=2, transforms=[views]),
        dict(type='PackInputs'),
    ]
    cfg.custom_hooks = [
        dict(type='MaskHook'), dict(type='SupernetHook'), dict(type='TwoMasksHook')
    ]  # fmt: skip
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    runner = build_runner(cfg)
    space = SearchSpace(runner.model)
    assert space.num_bits == 9 and list(space.modules) == ['backbone']
    runner.train()
    seen = _seen(runner)
    assert all(student == teacher for student, teacher in seen)
    assert len({student for student, _ in seen}) > 5
    masks = [str(m.mask) for m in masked_modules(runner.model).values()]
    assert len(masks) == 2 and masks[0] == masks[1]


@pytest.mark.slow
def test_a_semi_supervised_detector_is_searched_to_the_end(tmp_path):
    """The teacher is what is judged, and what would have a mask of its own."""
    cfg = soft_teacher_config(tmp_path)
    cfg.custom_hooks.append(dict(type='TwoMasksHook'))
    runner = Runner.from_cfg(cfg)
    space = SearchSpace(runner.model)
    assert list(space.modules) == ['student.backbone'] and space.num_bits == 8
    assert set(space.followers) == {'teacher.backbone'}
    runner.train()
    assert all(student == teacher for student, teacher in _seen(runner))
    work_dir = Path(cfg.work_dir)
    mask = Mask.from_file(work_dir / 'mask_student.backbone.json')
    assert not (work_dir / 'mask_teacher.backbone.json').exists()
    assert runner.model.student.backbone.mask == mask
    assert runner.model.teacher.backbone.mask == mask
    record, *_ = history(work_dir)
    assert 'unreported' not in json.dumps(record)
    looking = _looking_at_validation(runner)
    for entry in record['masks']:
        for network in (runner.model.student, runner.model.teacher):
            network.backbone.set_mask(entry['mask']['student.backbone'])
        runner.val_loop.run()  # mmdet's own loop, which returns nothing
        assert entry['metric'] == 100 * looking['teacher/coco/bbox_mAP']


def _looking_at_validation(runner):
    """What hooks are told of the last validation; no hook changes the mask."""
    seen = {}
    runner._hooks = [h for h in runner.hooks if type(h).__name__ == 'MeanTeacherHook']
    runner.hooks[0].after_val_epoch = lambda runner, metrics: seen.update(metrics)
    return seen
