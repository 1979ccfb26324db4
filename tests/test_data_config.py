"""Loaders without workers, and images that lie behind a registered file backend."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.fileio import BaseStorageBackend, register_backend

from ean_mm import EANError, launch

ELSEWHERE = dict(backend='elsewhere')


@register_backend('elsewhere', prefixes='elsewhere', force=True)
class ElsewhereBackend(BaseStorageBackend):
    """Has pictures for all names, which are no files."""

    def get(self, filepath):
        number = sum(str(filepath).encode())
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        return cv2.imencode('.png', pixels)[1].tobytes()

    def get_text(self, filepath, encoding='utf-8'):
        raise NotImplementedError


def test_a_training_on_images_behind_a_backend(tool, digits_config, tmp_path):
    names = [f'{name}{i}.png {label}' for i in range(8)
             for label, name in enumerate(('cat', 'dog'))]  # fmt: skip
    (tmp_path / 'labels.txt').write_text('\n'.join(names))
    cfg = digits_config
    cfg.pop('work_dir')
    cfg.train_cfg.max_epochs = 1
    cfg.custom_hooks = []
    load = dict(
        type='LoadImageFromFile', backend_args=ELSEWHERE, color_type='grayscale'
    )
    pack = dict(type='PackInputs')
    dataset = dict(type='CustomDataset', data_root='nowhere', data_prefix='images',
                   ann_file=str(tmp_path / 'labels.txt'), pipeline=[load, pack],
                   classes=['cat', 'dog'])  # fmt: skip
    cfg.train_dataloader.dataset = cfg.val_dataloader.dataset = dataset
    cfg.train_dataloader.batch_size = 8
    cfg.dump(tmp_path / 'train.py')
    assert tool('train.py', 'train.py')[0] == 0
    assert (tmp_path / 'work_dirs/train/epoch_1.pth').exists()
    cfg.train_dataloader.dataset.pipeline[0].pop('backend_args')
    cfg.dump(tmp_path / 'train.py')
    status, _ = tool('train.py', 'train.py')
    assert status.startswith(
        'error: the data for train_dataloader is missing: there is'
    )


READERS = [
    dict(type='CocoDataset', ann_file='a.json', data_prefix=dict(img='images'),
         backend_args=ELSEWHERE),
    dict(type='BaseSegDataset', backend_args=ELSEWHERE,
         data_prefix=dict(img_path='images', seg_map_path='labels')),
    dict(type='ImageNet', split='train', pipeline=[
        dict(type='LoadImageFromFile', file_client_args=dict(backend='petrel'))]),
    dict(type='RepeatDataset', times=2, dataset=dict(
        type='CocoDataset', data_root='x', backend_args=dict(backend='lmdb'))),
    dict(type='CocoDataset', data_root='elsewhere://x', ann_file='a.json'),
]  # fmt: skip


@pytest.mark.parametrize('dataset', READERS, ids=lambda dataset: dataset['type'])
def test_what_another_backend_reads_is_not_looked_for(dataset):
    if dataset['type'] != 'RepeatDataset':
        dataset = dict(data_root='nowhere') | dataset
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    launch.check(cfg, ('train_dataloader',))


@pytest.mark.parametrize('backend', [None, dict(backend='local'), dict(backend='disk')])
def test_what_the_local_backend_reads_is_looked_for(backend):
    dataset = dict(type='CocoDataset', data_root='nowhere', backend_args=backend)
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    with pytest.raises(EANError, match='there is no nowhere'):
        launch.check(cfg, ('train_dataloader',))


def test_annotations_here_of_images_elsewhere_are_looked_for(tmp_path):
    load = dict(type='LoadImageFromFile', backend_args=ELSEWHERE)
    dataset = dict(type='CustomDataset', data_root=str(tmp_path), ann_file='a.txt',
                   data_prefix='images', pipeline=[load])  # fmt: skip
    cfg = Config(dict(val_dataloader=dict(dataset=dataset)))
    with pytest.raises(EANError, match=r'there is no .*a\.txt'):
        launch.check(cfg, ('val_dataloader',))
    Path(tmp_path, 'a.txt').touch()
    launch.check(cfg, ('val_dataloader',))


def test_a_training_without_workers_from_a_config_that_has_some(
    tool, digits_config, tmp_path
):
    cfg = digits_config
    cfg.pop('work_dir')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(
            num_workers=2, persistent_workers=True, prefetch_factor=4, timeout=60
        )
    cfg.custom_hooks[2].dataloader = cfg.val_dataloader
    cfg.dump(tmp_path / 'search.py')
    status, _ = tool(
        'train.py', 'search.py', '--cfg-options', 'train_dataloader.num_workers=0',
        'val_dataloader.num_workers=0', 'custom_hooks.2.dataloader.num_workers=0',
        'train_dataloader.batch_size=512')  # fmt: skip
    assert status == 0
    assert (tmp_path / 'work_dirs/search/mask_backbone.json').exists()
