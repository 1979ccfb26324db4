"""Configs in pure Python, whose types are classes, in the tools."""

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier

from ean_mm import EANError, launch
from ean_mm.config_types import toolbox_of, type_name
from ean_mm.hooks import SafeCheckpointHook

BASE = """
from mmpretrain.models import (
    CrossEntropyLoss,
    GlobalAveragePooling,
    ImageClassifier,
    LinearClsHead,
)

from ean_mm import EANResNetCIFAR, SEAttention

model = dict(
    type=ImageClassifier,
    backbone=dict(
        type=EANResNetCIFAR,
        depth=20,
        in_channels=1,
        base_channels=4,
        stem_channels=4,
        mask='110-010-001',
        attention=dict(type=SEAttention, ratio=4),
    ),
    neck=dict(type=GlobalAveragePooling),
    head=dict(
        type=LinearClsHead,
        num_classes=10,
        in_channels=16,
        loss=dict(type=CrossEntropyLoss),
        topk=(1,),
    ),
)
"""

SEARCH = """
from mmengine.config import read_base
from mmengine.dataset import DefaultSampler, default_collate
from mmengine.hooks import CheckpointHook
from mmengine.optim import OptimWrapper
from mmpretrain.datasets import PackInputs
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import ClsDataPreprocessor
from torch.optim import SGD

from ean_mm import DigitsDataset, HeldOutSplit
from ean_mm.hooks import EANSearchHook, MaskHook, SupernetHook
from ean_mm.search import RLController

with read_base():
    from .base import *

default_scope = None
data_preprocessor = dict(
    type=ClsDataPreprocessor, num_classes=10, mean=[127.5], std=[127.5], to_rgb=False
)
images = dict(type=DigitsDataset, split='train', pipeline=[dict(type=PackInputs)])
split = dict(type=HeldOutSplit, num_per_class=5, dataset=images)
loader = dict(batch_size=256, num_workers=0, collate_fn=dict(type=default_collate))
train_dataloader = dict(
    **loader,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(**split, held_out=False),
)
val_dataloader = dict(
    **loader,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(**split, held_out=True),
)
test_dataloader = dict(
    **loader,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(
        type=DigitsDataset, split='test', pipeline=[dict(type=PackInputs)]
    ),
)
val_evaluator = test_evaluator = dict(type=Accuracy, topk=(1,))
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = test_cfg = dict()
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.1))
default_hooks = dict(checkpoint=dict(type=CheckpointHook, interval=1))
custom_hooks = [
    dict(type=MaskHook),
    dict(type=SupernetHook),
    dict(type=EANSearchHook, searcher=dict(type=RLController, num_steps=2)),
]
"""


@pytest.fixture
def config(tmp_path):
    """The search on digits, in pure Python, with its model in a base."""
    (tmp_path / 'base.py').write_text(BASE)
    (tmp_path / 'search.py').write_text(SEARCH)
    return tmp_path / 'search.py'


def test_the_tools_take_a_config_in_pure_python(tool, config, tmp_path):
    pytest.importorskip('pytorch_grad_cam')
    assert tool('train.py', config)[0] == 0
    work_dir = tmp_path / 'work_dirs/search'
    history = work_dir / 'search/history.jsonl'
    searched = history.read_text()
    assert tool('train.py', config, '--resume')[0] == 0
    assert history.read_text() == searched
    checkpoint = work_dir / 'epoch_1.pth'
    assert tool('test.py', config, checkpoint)[0] == 0
    cams = ('visualization/vis_cam.py', 'cams.png', config, checkpoint, '--num', 2)
    assert tool(*cams)[0] == 0
    deploy = ('model_converters/deploy.py', config, checkpoint, 'small.pth')
    assert tool(*deploy, '--image-size', '8', '--batch-size', '1')[0] == 0
    assert tool('test.py', 'small.py', 'small.pth')[0] == 0


def test_hooks_that_are_there_are_not_added_again(tool, config, tmp_path):
    cfg = launch.load_config(str(config), None, None)
    launch.add_hook(cfg, 'MaskHook')
    launch.use_safe_checkpoints(cfg)
    cfg.work_dir = str(tmp_path / 'new')
    launch.set_resume(cfg, 'auto')
    names = [type_name(hook) for hook in cfg.custom_hooks]
    assert names == ['MaskHook', 'SupernetHook', 'EANSearchHook']
    assert cfg.custom_hooks[2].resume
    hooks = Runner.from_cfg(cfg).hooks
    assert sum(isinstance(hook, SafeCheckpointHook) for hook in hooks) == 1


def test_missing_data_and_mixed_precision_are_one_line(config, monkeypatch):
    text = config.read_text().replace('type=DigitsDataset', 'type=CustomDataset')
    text = text.replace("split='train'", "data_root='nowhere'")
    imports = 'from mmpretrain.datasets import CustomDataset, PackInputs'
    config.write_text(
        text.replace('from mmpretrain.datasets import PackInputs', imports)
    )
    cfg = launch.load_config(str(config), None, None)
    with pytest.raises(EANError, match='train_dataloader is missing.*no nowhere'):
        launch.check(cfg, ('train_dataloader',))
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    launch.enable_amp(cfg)
    cfg.optim_wrapper.type = Runner
    with pytest.raises(EANError, match="optim_wrapper.type='Runner'"):
        launch.enable_amp(cfg)


@pytest.mark.parametrize(
    'cfg, toolbox',
    [
        (dict(default_scope='mmseg'), 'mmseg'),
        (dict(default_scope=None, model=dict(type=ImageClassifier)), 'mmpretrain'),
        (dict(model=dict(type='mmdet.RetinaNet')), 'mmdet'),
        (dict(default_scope='mmengine', model=dict(type=Config)), None),
        (dict(), None),
    ],
)
def test_the_scope_or_the_model_says_the_toolbox(cfg, toolbox):
    assert toolbox_of(Config(cfg)) == toolbox


@pytest.mark.parametrize(
    'node, name',
    [
        (dict(type='A'), 'A'),
        (dict(type='scope.A'), 'A'),
        (dict(type=Config), 'Config'),
        (dict(), 'B'),
        (None, 'B'),
    ],
)
def test_a_type_has_one_name(node, name):
    assert type_name(node, 'B') == name


def test_image_files_are_drawn_by_a_config_in_pure_python(tool, config, tmp_path):
    pytest.importorskip('pytorch_grad_cam')
    assert tool('train.py', config, '--no-validate', '--cfg-options',
                'custom_hooks=[]')[0] == 0  # fmt: skip
    text = config.read_text().replace(
        "split='test', pipeline=[dict(type=PackInputs)]",
        "split='test', pipeline=[dict(type=LoadImageFromFile), dict("
        'type=RandomGrayscale, prob=1.0), dict(type=PackInputs)]')  # fmt: skip
    config.write_text(
        'from mmcv.transforms import LoadImageFromFile, RandomGrayscale\n' + text
    )
    cv2.imwrite(str(tmp_path / 'image.png'), np.zeros((8, 8, 3), np.uint8))
    checkpoint = tmp_path / 'work_dirs/search/epoch_1.pth'
    cams = ('visualization/vis_cam.py', 'cams.png', config, checkpoint)
    assert tool(*cams, '--images', 'image.png')[0] == 0
