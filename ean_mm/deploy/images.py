"""Images of a config's data sets, to compare networks and to quantise them on."""

from typing import Any, Dict, List

import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS
from torch import Tensor, nn

from ean_mm.config_types import type_name
from ean_mm.errors import EANError, one_line
from ean_mm.launch import check
from ean_mm.launch.data_config import datasets_with_pipeline

Batch = Dict[str, Any]
"""what a data loader gives to the model"""


def draw_test_images(cfg: Config, number: int) -> List[Batch]:
    """Draw images of the test set, each a batch of its own.

    Args:
        cfg: The config, whose default scope is set.
        number: How many images; of a smaller set all.

    Raises:
        ValueError: The config has no test set, or its images are not there.
    """
    return _draw(cfg, 'test_dataloader', None, number)


def draw_calibration_images(cfg: Config, number: int) -> List[Batch]:
    """Draw images to quantise on, which the test has not: each a batch of its own.

    They are the reward images of a search, which are held out of its training set, and
    without a search training images; either as the test reads them.

    Args:
        cfg: The config, whose default scope is set.
        number: How many images; of a smaller set all.

    Raises:
        ValueError: The config has no such set, or its images are not there.
    """
    validation = cfg.get('val_dataloader') or {}
    dataset = validation.get('dataset') or {}
    if type_name(dataset) == 'HeldOutSplit' and dataset.get('held_out'):
        return _draw(cfg, 'val_dataloader', None, number)
    tests = datasets_with_pipeline(cfg.get('test_dataloader') or {})
    if not tests:
        raise EANError('the config has no test_dataloader, whose pipeline is needed')
    return _draw(cfg, 'train_dataloader', tests[0]['pipeline'], number)


def _draw(cfg: Config, loader: str, pipeline: Any, number: int) -> List[Batch]:
    """Draw images of a loader's data set, always the same ones.

    Args:
        cfg: The config.
        loader: Name of the loader.
        pipeline: Pipeline for the loader's first data set alone, None for what the
            config says.
        number: How many images.
    """
    dataset = (cfg.get(loader) or {}).get('dataset')
    if dataset is None:
        raise EANError(f'the config has no {loader}')
    check(cfg, (loader,))
    if pipeline is not None:
        dataset = dict(datasets_with_pipeline(cfg[loader])[0], pipeline=pipeline)
    try:
        images: Any = DATASETS.build(dataset)
    except (OSError, RuntimeError) as error:
        raise EANError(
            f'the data for {loader} are missing: {one_line(error)}'
        ) from error
    order = np.random.default_rng(0).permutation(len(images))[:number]
    return [pseudo_collate([images[index]]) for index in order.tolist()]


def preprocessed(model: nn.Module, batch: Batch) -> Tensor:
    """Return a batch as the model's backbone gets it, ``(N, C, H, W)``."""
    preprocess: Any = model.data_preprocessor
    return preprocess(batch, False)['inputs']
