"""Our test.py has the options of mmdet's and mmseg's own."""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch._dynamo
from mmengine.config import Config
from mmengine.runner import Runner

BACKBONE = """dict(_delete_=True, type='EANResNet', depth=18, base_channels=8,
    stem_channels=8, out_indices=(0, 1, 2, 3), mask='all',
    attention=dict(type='SEAttention'){})"""


def write_pictures(folder, number, high):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(number):
        shape = (64, 96, 3) if high > 2 else (64, 96)
        cv2.imwrite(str(folder / f'{i}.png'), rng.integers(0, high, shape, np.uint8))


def save_initial_weights(path):
    cfg = Config.fromfile(path)
    cfg.work_dir, cfg.experiment_name = str(path.parent / 'initial'), path.stem
    cfg.visualizer.name = 'initial'
    cfg.randomness = dict(seed=0)  # mmengine draws one where none is set
    runner = Runner.from_cfg(cfg)
    torch.save(dict(state_dict=runner.model.state_dict()), path.with_suffix('.pth'))


def test_a_detector_is_tested_with_all_options(tool, tmp_path):
    pytest.importorskip('mmdet')
    write_pictures(tmp_path / 'images', 2, 256)
    infos = [dict(id=i, file_name=f'{i}.png', height=64, width=96) for i in (0, 1)]
    box = dict(category_id=1, bbox=[8, 8, 40, 30], area=1200, iscrowd=0)
    boxes = [dict(box, id=i, image_id=i) for i in (0, 1)]
    annotations = dict(images=infos, annotations=boxes,
                       categories=[dict(id=1, name='cell')])  # fmt: skip
    (tmp_path / 'boxes.json').write_text(json.dumps(annotations))
    path = tmp_path / 'det.py'
    path.write_text(f"""
_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
model = dict(backbone={BACKBONE.format('')}, neck=dict(in_channels=[8, 16, 32, 64]),
    bbox_head=dict(num_classes=1), test_cfg=dict(score_thr=0.0, max_per_img=3))
load = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(96, 64)),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape',
             'img_shape', 'scale_factor'))]
test_dataloader = dict(_delete_=True, batch_size=1, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RepeatDataset', times=1, dataset=dict(
        type='CocoDataset', ann_file='boxes.json', data_root='.', test_mode=True,
        data_prefix=dict(img='images/'), metainfo=dict(classes=('cell',)),
        pipeline=load)))
test_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP')
""")
    save_initial_weights(path)
    options = ('--tta', '--show-dir', 'shown', '--out', 'boxes.pkl')
    assert tool('test.py', 'det.py', 'det.pth', '--work-dir', 'w', *options)[0] == 0
    shown = [file.name for file in Path('w').glob('*/shown/*')]
    assert sorted(shown) == ['0.png', '1.png']
    found = pickle.loads(Path('boxes.pkl').read_bytes())
    assert not any('gt_instances' in each for each in found)  # as mmdet's metric has it
    # more than the three of one image, those of both less what is found twice
    assert all(3 < len(each['pred_instances']['scores']) <= 6 for each in found)


def test_a_segmentor_is_tested_with_all_options(tool, tmp_path):
    pytest.importorskip('mmseg')
    write_pictures(tmp_path / 'img', 2, 256)
    write_pictures(tmp_path / 'ann', 2, 2)
    path = tmp_path / 'seg.py'
    norm = 'norm_cfg=dict(type="BN")'
    path.write_text(f"""
_base_ = ['mmseg::_base_/models/fcn_r50-d8.py', 'mmseg::_base_/default_runtime.py']
model = dict(pretrained=None, data_preprocessor=dict(size=(64, 96)),
    backbone={BACKBONE.format(', deep_stem=True')},
    decode_head=dict(in_channels=64, channels=8, num_classes=2, {norm}),
    auxiliary_head=dict(in_channels=32, channels=8, num_classes=2, {norm}))
load = dict(type='LoadImageFromFile')
rest = [dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
flips = [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0., 1.)]
tta_pipeline = [
    load, dict(type='TestTimeAug', transforms=[flips, rest[:1], rest[1:]])]
test_dataloader = dict(batch_size=1, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='BaseSegDataset', data_root='.', img_suffix='.png',
        metainfo=dict(classes=('a', 'b'), palette=[[0, 0, 0], [9, 9, 9]]),
        data_prefix=dict(img_path='img', seg_map_path='ann'), pipeline=[load, *rest]))
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_cfg = dict(type='TestLoop')
""")
    save_initial_weights(path)
    options = ('--work-dir', 'w', '--tta', '--show-dir', 'shown', '--out', 'maps')
    assert tool('test.py', 'seg.py', 'seg.pth', *options)[0] == 0
    assert sorted(file.name for file in Path('maps').iterdir()) == ['0.png', '1.png']
    assert len(list(Path('shown').rglob('*.png'))) == 2
    assert tool('test.py', 'seg.py', 'seg.pth', '--out', 'maps.pkl')[0] == 0
    assert len(pickle.loads(Path('maps.pkl').read_bytes())) == 2
