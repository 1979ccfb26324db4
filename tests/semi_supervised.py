"""A semi-supervised detector, which is small and has few images."""

import json

import cv2
import numpy as np
import pytest
from mmengine.hub import get_config


def soft_teacher_config(folder):
    """mmdet's SoftTeacher, made small, on images of noise with a box each."""
    pytest.importorskip('mmdet')
    rng = np.random.default_rng(0)
    for part, number in (('labeled', 4), ('unlabeled', 4), ('val', 3)):
        (folder / part).mkdir()
        images, boxes = [], []
        for i in range(number):
            pixels = rng.integers(256, size=(64, 64, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / part / f'{i}.png'), pixels)
            images.append(dict(id=i, file_name=f'{i}.png', height=64, width=64))
            boxes.append(dict(id=i, image_id=i, category_id=1, area=1200, iscrowd=0,
                              bbox=[8, 8, 40, 30]))  # fmt: skip
        facts = dict(
            images=images, annotations=boxes, categories=[dict(id=1, name='cell')]
        )
        (folder / f'{part}.json').write_text(json.dumps(facts))
    name = 'soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco'
    cfg = get_config(f'mmdet::soft_teacher/{name}.py')
    detector = cfg.model.detector
    detector.backbone = dict(
        type='EANResNet', depth=18, base_channels=8, stem_channels=8,
        attention=dict(type='SEAttention'), norm_cfg=dict(type='GN', num_groups=4),
    )  # fmt: skip
    detector.neck.update(in_channels=[8, 16, 32, 64], out_channels=8)
    detector.rpn_head.update(in_channels=8, feat_channels=8)
    detector.roi_head.bbox_roi_extractor.out_channels = 8
    detector.roi_head.bbox_head.update(in_channels=8, fc_out_channels=8, num_classes=1)
    detector.test_cfg.rpn.update(nms_pre=50, max_per_img=20)
    detector.test_cfg.rcnn.update(score_thr=0.0, max_per_img=10)
    detector.train_cfg.rpn_proposal.update(nms_pre=50, max_per_img=20)
    resize = dict(type='Resize', scale=(64, 64))
    sup, unsup, test = cfg.sup_pipeline, cfg.unsup_pipeline, cfg.test_pipeline
    sup[2], test[1] = resize, resize
    unsup[2].unsup_teacher[0] = unsup[2].unsup_student[0] = resize
    common = dict(
        type='CocoDataset', data_root=str(folder), metainfo=dict(classes=('cell',))
    )

    def part(name, pipeline, **options):
        prefix = dict(img=f'{name}/')
        return dict(common, ann_file=f'{name}.json', data_prefix=prefix,
                    pipeline=pipeline, **options)  # fmt: skip

    cfg.train_dataloader.update(num_workers=0, persistent_workers=False, batch_size=2)
    cfg.train_dataloader.sampler.update(batch_size=2, source_ratio=[1, 1])
    cfg.train_dataloader.dataset.datasets = [
        part('labeled', sup), part('unlabeled', unsup)
    ]  # fmt: skip
    cfg.val_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.val_dataloader.dataset = part('val', test, test_mode=True)
    cfg.val_evaluator.update(ann_file=str(folder / 'val.json'))
    cfg.test_dataloader = cfg.test_evaluator = cfg.test_cfg = None
    cfg.train_cfg.update(max_iters=3, val_interval=10)
    cfg.param_scheduler = None
    cfg.custom_hooks = [
        dict(type='MeanTeacherHook', momentum=0.1),
        dict(type='MaskHook'),
        dict(type='SupernetHook'),
        dict(
            type='EANSearchHook',
            searcher=dict(type='RandomSearcher', num_steps=1, masks_per_step=2),
            reward=dict(metric='teacher/coco/bbox_mAP', unit='fraction'),
        ),
    ]
    cfg.work_dir = str(folder / 'work')
    cfg.launcher, cfg.log_level = 'none', 'WARNING'
    return cfg
