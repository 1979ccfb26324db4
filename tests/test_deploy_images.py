"""The images that a deployed network is compared and quantised on."""

import pytest
import torch
from mmengine.registry import DATASETS, MODELS, init_default_scope

from ean_mm import EANError, launch
from ean_mm.deploy.images import draw_calibration_images, draw_test_images, preprocessed


@pytest.fixture
def load(root):
    def load_digits_config(name):
        cfg = launch.load_config(str(root / f'configs/ean/{name}.py'), None, None)
        init_default_scope(cfg.default_scope)
        return cfg

    return load_digits_config


def images_of(batches):
    return {tuple(batch['inputs'][0].flatten().tolist()) for batch in batches}


def images_in(dataset):
    dataset = DATASETS.build(dataset)
    return {tuple(each['inputs'].flatten().tolist()) for each in dataset}


def test_reward_images_of_a_search_are_quantised_on(load):
    cfg = load('resnet20_se_search_digits')
    batches = draw_calibration_images(cfg, 20)
    assert len(images_of(batches)) == 20
    assert images_of(batches) <= images_in(cfg.val_dataloader.dataset)


def test_without_a_search_training_images_as_the_test_reads_them(load):
    cfg = load('resnet20_se_digits')
    found = images_of(draw_calibration_images(cfg, 20))
    assert len(found) == 20 and found == images_of(draw_calibration_images(cfg, 20))
    training = dict(cfg.train_dataloader.dataset, pipeline=cfg.test_pipeline)
    assert found <= images_in(training)
    assert not found & images_in(cfg.test_dataloader.dataset)


def test_the_backbone_gets_them_as_in_a_test(load):
    cfg = load('resnet20_se_digits')
    cfg.model.data_preprocessor = cfg.data_preprocessor
    model = MODELS.build(cfg.model)
    batches = draw_test_images(cfg, 1000)
    assert len(batches) == 360  # all that there are
    images = torch.cat([preprocessed(model, batch) for batch in batches])
    assert images.shape == (360, 1, 8, 8)
    raw = torch.cat([batch['inputs'][0] for batch in batches])[:, None].float()
    torch.testing.assert_close(images, (raw - 127.5) / 127.5)


def test_data_that_are_missing(load, tmp_path):
    cfg = load('resnet20_se_digits')
    cfg.test_dataloader = None
    with pytest.raises(EANError, match='the config has no test_dataloader'):
        draw_test_images(cfg, 1)
    with pytest.raises(EANError, match='the config has no test_dataloader'):
        draw_calibration_images(cfg, 1)
    cfg = load('resnet20_se_cifar10-10k')
    launch.config.set_data_root(cfg, str(tmp_path / 'nowhere'))
    with pytest.raises(EANError, match='there is no'):
        draw_test_images(cfg, 1)
