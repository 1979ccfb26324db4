"""A plain detector of mmdet, made small, with images of noise and COCO annotations."""

import json

import cv2
import numpy as np

CONFIG = """\
_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        base_channels=8, stem_channels=8, frozen_stages=-1, norm_eval=False,
        init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=8),
    bbox_head=dict(num_classes=1, in_channels=8, feat_channels=8, stacked_convs=1),
    test_cfg=dict(score_thr=0.0, nms_pre=20, max_per_img=10))
images = dict(
    type='CocoDataset', data_root=ROOT, ann_file='boxes.json',
    data_prefix=dict(img='images/'), metainfo=dict(classes=('cell',)))
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].scale = test_pipeline[1].scale = (64, 64)
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(_delete_=True, **images, pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(_delete_=True, **images, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(ann_file=ROOT + '/boxes.json')
train_cfg = dict(max_epochs=2)
"""


def write_detector(folder, number=10):
    """Write images, their boxes and the config, ``detector.py``, into a folder."""
    rng = np.random.default_rng(0)
    (folder / 'images').mkdir()
    images, boxes = [], []
    for i in range(number):
        pixels = rng.integers(256, size=(64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'images/{i}.png'), pixels)
        images.append(dict(id=i, file_name=f'{i}.png', height=64, width=64))
        boxes.append(dict(id=i, image_id=i, category_id=1, bbox=[8, 8, 40, 30],
                          area=1200, iscrowd=0))  # fmt: skip
    categories = [dict(id=1, name='cell')]
    facts = dict(images=images, annotations=boxes, categories=categories)
    (folder / 'boxes.json').write_text(json.dumps(facts))
    (folder / 'detector.py').write_text(f"ROOT = '{folder}'\n{CONFIG}")
