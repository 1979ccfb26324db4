"""Data sets whose images have several labels, or none."""

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope

from ean_mm import EANError, HeldOutSplit, Mask
from ean_mm.datasets.labels import classes_of

CLASSES = ('aeroplane', 'bicycle', 'bird')
LABELS = [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2], [2, 0]] * 4

VOC = """<annotation><size><width>16</width><height>16</height></size>{}</annotation>"""
OBJECT = '<object><name>{}</name><difficult>0</difficult></object>'


def write_images(folder, number):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(number):
        pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
        cv2.imwrite(str(folder / f'{i:02}.jpg'), pixels)


@pytest.fixture
def multi_label(tmp_path):
    """Configs of data sets of 32 images that are of one, two or three classes."""
    write_images(tmp_path / 'JPEGImages', len(LABELS))
    infos = [
        dict(img_path=f'JPEGImages/{i:02}.jpg', gt_label=labels)
        for i, labels in enumerate(LABELS)
    ]
    annotations = dict(metainfo=dict(classes=CLASSES), data_list=infos)
    (tmp_path / 'labels.json').write_text(json.dumps(annotations))
    for folder in ('Annotations', 'ImageSets/Main'):
        (tmp_path / folder).mkdir(parents=True)
    for i, labels in enumerate(LABELS):
        objects = ''.join(OBJECT.format(CLASSES[label]) for label in labels)
        (tmp_path / f'Annotations/{i:02}.xml').write_text(VOC.format(objects))
    names = '\n'.join(f'{i:02}' for i in range(len(LABELS)))
    (tmp_path / 'ImageSets/Main/trainval.txt').write_text(names)
    root = str(tmp_path)
    return dict(
        MultiLabelDataset=dict(
            type='MultiLabelDataset', data_root=root, ann_file='labels.json'
        ),
        VOC=dict(type='VOC', data_root=root, split='trainval'),
    )


def build(cfg, **arguments):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return HeldOutSplit(cfg, **arguments) if arguments else DATASETS.build(cfg)


@pytest.mark.parametrize('kind', ['MultiLabelDataset', 'VOC'])
def test_a_search_on_images_with_several_labels(
    digits_config, build_runner, multi_label, kind, tmp_path
):
    cfg, dataset = digits_config, dict(multi_label[kind])
    dataset['pipeline'] = [
        dict(type='LoadImageFromFile', color_type='grayscale'),
        dict(type='PackInputs'),
    ]
    split = dict(type='HeldOutSplit', dataset=dataset, num_per_class=4)
    cfg.train_dataloader.dataset = dict(split, held_out=False)
    cfg.val_dataloader.dataset = dict(split, held_out=True)
    cfg.val_dataloader.batch_size = cfg.train_dataloader.batch_size = 8
    cfg.data_preprocessor.update(num_classes=20, to_onehot=True)
    cfg.model.head = dict(
        type='MultiLabelLinearClsHead', num_classes=20, in_channels=16
    )
    cfg.val_evaluator = dict(type='MultiLabelMetric', average='micro')
    cfg.custom_hooks[2].reward = dict(metric='multi-label/f1-score_micro')
    for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        cfg.pop(key)
    build_runner(cfg).train()
    assert Mask.from_file(f'{cfg.work_dir}/mask_backbone.json').stage_blocks == (
        3,
        3,
        3,
    )


@pytest.mark.parametrize('kind', ['MultiLabelDataset', 'VOC'])
def test_enough_images_of_each_of_several_labels_are_held_out(multi_label, kind):
    cfg = multi_label[kind]
    assert [sorted(c) for c in classes_of(build(cfg))] == [sorted(x) for x in LABELS]
    held = build(cfg, held_out=True, num_per_class=4)
    rest = build(cfg, held_out=False, num_per_class=4)
    assert sorted(held.indices + rest.indices) == list(range(len(LABELS)))
    counts = Counter(label for labels in classes_of(held) for label in labels)
    assert min(counts[label] for label in range(3)) == 4 and len(held) < 12
    assert {label for labels in classes_of(rest) for label in labels} == {0, 1, 2}


def test_a_class_is_left_on_either_side_or_refused(multi_label):
    """Each image of the first class is also of another one, which may take it."""
    cfg = multi_label['MultiLabelDataset']
    path = Path(cfg['data_root'], 'labels.json')
    annotations = json.loads(path.read_text())
    del annotations['data_list'][4:]
    for info, labels in zip(annotations['data_list'], [[0, 1], [0, 2], [1], [2]]):
        info['gt_label'] = labels
    path.write_text(json.dumps(annotations))
    outcomes = set()
    for seed in range(10):
        try:
            rest = build(cfg, held_out=False, num_per_class=1, seed=seed)
        except EANError as error:
            assert "takes all 2 of class 'aeroplane'; hold fewer out" in str(error)
            outcomes.add('refused')
        else:
            assert {x for labels in classes_of(rest) for x in labels} == {0, 1, 2}
            outcomes.add('split')
    assert outcomes == {'refused', 'split'}


def test_one_of_several_labels_beyond_the_classes_is_named(
    digits_config, build_runner, multi_label
):
    dataset = multi_label['MultiLabelDataset']
    digits_config.train_dataloader.dataset = dict(dataset, pipeline=[])
    digits_config.model.head = dict(
        type='MultiLabelLinearClsHead', num_classes=2, in_channels=16
    )
    digits_config.custom_hooks = [dict(type='MaskHook')]
    message = '20 of the 32 images of train_dataloader .* being 2 of .*02.jpg'
    with pytest.raises(EANError, match=message):
        build_runner(digits_config).train()
