"""Data sets whose images have several labels, or none."""

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope
from mmpretrain.datasets.coco_caption import COCOCaption
from mmpretrain.datasets.coco_retrieval import COCORetrieval
from torch import nn

from ean_mm import EANError, HeldOutSplit, Mask
from ean_mm.datasets.labels import classes_of, require_labels
from ean_mm.search.evaluation.reward_set import image_names

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


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def without_labels(root):
    """Configs of data sets of eight images that have no class each."""
    names = [f'{i:02}.jpg' for i in range(8)]
    captions = [dict(image=name, caption='a') for name in names]
    images = [dict(id=i, file_name=name, height=16, width=16, video_id=i // 2,
                   frame_id=i % 2, coco_url=f'x/y/{name}')
              for i, name in enumerate(names)]  # fmt: skip
    boxes = [dict(id=i, image_id=i, category_id=1, bbox=[1, 1, 9, 9], area=81,
                  iscrowd=0, instance_id=i) for i in range(8)]  # fmt: skip
    coco = dict(images=images, annotations=boxes, categories=[dict(id=1, name='a')],
                videos=[dict(id=i, name=str(i)) for i in range(4)])  # fmt: skip
    texts = [dict(id=i, image_id=i, caption='a') for i in range(8)]
    items = [f'{i:02}.jpg id_{i // 2} {("query", "gallery")[i % 2]}' for i in range(16)]
    tasks = [dict(img_path=name, gt_label=dict(task1=i % 2))
             for i, name in enumerate(names)]  # fmt: skip
    meta = dict(tasks=['task1'])
    for folder in ('seg', 'img'):
        write_images(root / folder, 8)
    boxes_json = write(root / 'boxes.json', coco)
    classes = dict(classes=('a',), palette=[[0, 0, 0]])
    return dict(
        images=dict(
            type='CustomDataset', data_root=str(root / 'img'), with_label=False
        ),
        captions=dict(
            type=COCOCaption, ann_file=write(root / 'captions.json', captions)
        ),
        retrieval=dict(
            type=COCORetrieval,
            ann_file=write(root / 'texts.json', dict(images=images, annotations=texts)),
        ),
        gallery=dict(
            type='InShop',
            split='gallery',
            data_root=str(root),
            ann_file=write(root / 'items.txt', '\n'.join(['16', 'a', *items])),
        ),
        tasks=dict(
            type='MultiTaskDataset',
            data_root=str(root),
            ann_file=write(root / 'tasks.json', dict(metainfo=meta, data_list=tasks)),
        ),
        detection=dict(
            type='mmdet.CocoDataset',
            ann_file=boxes_json,
            metainfo=classes,
            data_prefix=dict(img='img'),
        ),
        segmentation=dict(
            type='mmseg.BaseSegDataset',
            data_root=str(root),
            data_prefix=dict(img_path='img', seg_map_path='seg'),
            metainfo=classes,
        ),
    )


@pytest.mark.parametrize(
    'kind',
    ['images', 'captions', 'retrieval', 'gallery', 'tasks', 'detection',
     'segmentation'],
)  # fmt: skip
def test_data_sets_without_a_class_for_each_image_are_split_by_number(kind, tmp_path):
    cfg = without_labels(tmp_path)[kind]
    for toolbox in ('mmdet', 'mmseg'):
        if str(cfg['type']).startswith(toolbox):
            pytest.importorskip(f'{toolbox}.datasets')
    sides = [build(cfg, held_out=side, num_images=3) for side in (True, False)]
    assert [len(side) for side in sides] == [3, 5]
    assert (
        not set(image_names(sides[0])) & set(image_names(sides[1])) or kind == 'tasks'
    )
    for side in sides:
        assert classes_of(side) is None
        require_labels(ClassifierOf(1), side, 'it')
    with pytest.raises(EANError, match='has no class for each image; hold out num_im'):
        build(cfg, held_out=True, num_per_class=1)


class ClassifierOf(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Module()
        self.head.num_classes = num_classes


def test_what_is_to_be_retrieved_is_no_class(tmp_path):
    """A query's label is a list of numbers of gallery images."""
    cfg = dict(without_labels(tmp_path)['gallery'], split='query')
    require_labels(ClassifierOf(2), build(cfg), 'the queries')


def test_images_and_texts_that_are_numbered_by_each_other_are_not_split(tmp_path):
    cfg = dict(without_labels(tmp_path)['retrieval'], test_mode=True)
    with pytest.raises(EANError, match='COCORetrieval for tests cannot be split'):
        build(cfg, held_out=True, num_images=3)


def test_a_frame_of_a_video_that_cannot_be_read_is_named(tmp_path):
    pytest.importorskip('mmdet.datasets')
    load = dict(
        type='mmdet.TransformBroadcaster', transforms=[dict(type='LoadImageFromFile')]
    )
    sample = dict(type='mmdet.UniformRefFrameSample', num_ref_imgs=0)
    cfg = dict(
        type='mmdet.BaseVideoDataset',
        ann_file=without_labels(tmp_path)['detection']['ann_file'],
        metainfo=dict(classes=('a',)),
        data_prefix=dict(img_path='nowhere'),
        pipeline=[sample, load],
    )
    videos = build(cfg, held_out=False, num_images=1)
    assert len(videos) == 3
    with pytest.raises(EANError, match='the training image number 1 cannot be read'):
        videos[1, 0]
