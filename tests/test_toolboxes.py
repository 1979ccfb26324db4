"""The search on a detector and on a segmentor, through ``tools/train.py``."""

import json

import numpy as np
import pytest
from searches import history

from ean_mm import Mask

cv2 = pytest.importorskip('cv2')
pytestmark = pytest.mark.slow

SEARCH = """
custom_imports = dict(imports=['ean_mm'])
custom_hooks = [
    dict(type='SupernetHook'),
    dict(type='EANSearchHook', calibration_batches=1,
         searcher=dict(type='RLController', num_steps=2), reward=dict({reward})),
]
backbone = dict(
    _delete_=True, type='EANResNet', depth=18, base_channels=8, stem_channels=8,
    out_indices=(0, 1, 2, 3), attention=dict(type='DIAAttention'), {backbone})
"""


@pytest.fixture
def run(tool, tmp_path):
    """Run a config written from its text; return the search's records."""

    def train(text):
        (tmp_path / 'search.py').write_text(text)
        assert tool('train.py', 'search.py', '--data-root', tmp_path)[0] == 0
        mask = Mask.from_file('work_dirs/search/mask_backbone.json')
        assert mask.stage_blocks == (2, 2, 2, 2)
        return history('work_dirs/search')

    return train


def test_search_on_a_detector(run, tmp_path):
    pytest.importorskip('mmdet')
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    images, boxes = [], []
    for i in range(8):
        cv2.imwrite(str(tmp_path / f'images/{i}.png'),
                    rng.integers(256, size=(64, 96, 3)))  # fmt: skip
        images.append(dict(id=i, file_name=f'{i}.png', height=64, width=96))
        boxes.append(dict(id=i, image_id=i, category_id=1, bbox=[8, 8, 40, 30],
                          area=1200, iscrowd=0))  # fmt: skip
    annotations = dict(images=images, annotations=boxes,
                       categories=[dict(id=1, name='cell')])  # fmt: skip
    (tmp_path / 'boxes.json').write_text(json.dumps(annotations))
    reward = "metric='pascal_voc/mAP', unit='fraction'"
    records = run(f"""
_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
{SEARCH.format(reward=reward, backbone='norm_eval=True, frozen_stages=1')}
model = dict(backbone=backbone, neck=dict(in_channels=[8, 16, 32, 64]),
             bbox_head=dict(num_classes=1))
split = dict(type='HeldOutSplit', num_images=3)
images = dict(type='mmdet.CocoDataset', ann_file='boxes.json',
              data_root='.', data_prefix=dict(img='images/'),
              metainfo=dict(classes=('cell',)))
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(_delete_=True, **split, held_out=False,
                 dataset=dict(**images, pipeline=_base_.train_pipeline)))
val_dataloader = dict(num_workers=0, persistent_workers=False,
    dataset=dict(_delete_=True, **split, held_out=True,
                 dataset=dict(**images, pipeline=_base_.test_pipeline)))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1)
""")
    assert len(records) == 3
    assert all(0 <= e['metric'] <= 100 for r in records for e in r['masks'])


def test_search_on_a_segmentor(run, tmp_path):
    pytest.importorskip('mmseg')
    rng = np.random.default_rng(0)
    for split, number in (('train', 6), ('val', 3)):
        for kind in ('img', 'ann'):
            (tmp_path / kind / split).mkdir(parents=True)
        for i in range(number):
            cv2.imwrite(str(tmp_path / f'img/{split}/{i}.jpg'),
                        rng.integers(256, size=(64, 64 + 16 * i, 3)))  # fmt: skip
            cv2.imwrite(str(tmp_path / f'ann/{split}/{i}.png'),
                        rng.integers(2, size=(64, 64 + 16 * i)))  # fmt: skip
    records = run(f"""
_base_ = ['mmseg::_base_/models/fcn_r50-d8.py', 'mmseg::_base_/default_runtime.py']
{
        SEARCH.format(
            reward="metric='mIoU'",
            backbone='dilations=(1, 1, 2, 4),'
            'strides=(1, 2, 1, 1), contract_dilation=True, deep_stem=True',
        )
    }
model = dict(pretrained=None, backbone=backbone,
    data_preprocessor=dict(size=(64, 64)),
    decode_head=dict(in_channels=64, channels=8, num_classes=2,
                     norm_cfg=dict(type='BN')),
    auxiliary_head=dict(in_channels=32, channels=8, num_classes=2,
                        norm_cfg=dict(type='BN')))
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
images = dict(type='BaseSegDataset', data_root='.',
              metainfo=dict(classes=('a', 'b'), palette=[[0, 0, 0], [9, 9, 9]]))
train_dataloader = dict(batch_size=2, num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(**images, pipeline=[*load,
        dict(type='RandomCrop', crop_size=(48, 64)), dict(type='PackSegInputs')],
        data_prefix=dict(img_path='img/train', seg_map_path='ann/train')))
val_dataloader = dict(batch_size=1, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**images, pipeline=[*load, dict(type='PackSegInputs')],
        data_prefix=dict(img_path='img/val', seg_map_path='ann/val')))
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=3, val_interval=3)
val_cfg = dict(type='ValLoop')
""")
    assert len(records) == 3
    assert all(0 <= e['metric'] <= 100 for r in records for e in r['masks'])
