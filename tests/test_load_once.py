"""Images that are loaded once for all epochs."""

import cv2
import numpy as np
import pytest
from mmengine.registry import TRANSFORMS, init_default_scope

from ean_mm.datasets import LoadOnce

LOAD = [dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=2, interpolation='area')]  # fmt: skip


@pytest.fixture
def info(tmp_path):
    """An image of 4x4 pixels, four of which are one of the smaller image."""
    init_default_scope('mmpretrain')
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    cv2.imwrite(str(tmp_path / 'x.png'), image)
    return dict(img_path=str(tmp_path / 'x.png'), gt_label=3, sample_idx=7)


def test_an_image_is_what_its_pipeline_makes_of_it(info):
    once = TRANSFORMS.build(dict(type='LoadOnce', transforms=LOAD))(info)
    expected = dict(info)
    for step in LOAD:
        expected = TRANSFORMS.build(dict(step))(expected)
    assert once.keys() == expected.keys()
    assert (once['img'] == expected['img']).all()
    corner = np.arange(48).reshape(4, 4, 3)[:2, :2].mean(axis=(0, 1))
    assert once['img'][0, 0] == pytest.approx(corner, abs=0.5)
    assert (once['gt_label'], once['sample_idx'], once['img_shape']) == (3, 7, (2, 2))


def test_the_file_is_read_once_and_nothing_writes_to_what_is_kept(info, tmp_path):
    load = LoadOnce(LOAD)
    first = load(info)['img']
    (tmp_path / 'x.png').unlink()
    expected = first.copy()
    first[:] = 0  # an augmentation in place
    assert (load(info)['img'] == expected).all()


def test_the_label_is_that_of_the_data_set_and_not_of_the_first_time(info):
    load = LoadOnce(LOAD)
    load(info)
    assert load({**info, 'gt_label': 5})['gt_label'] == 5
