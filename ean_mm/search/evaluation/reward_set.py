"""The images that masks are rewarded on, and what else rewards depend on."""

import copy
import hashlib
import json
from collections import Counter
from logging import Logger
from typing import Any, Dict, List, Set

import numpy as np
import torch
from mmengine.evaluator import Evaluator
from torch import Tensor

from ean_mm.datasets.held_out import HeldOutSplit
from ean_mm.datasets.labels import classes_of
from ean_mm.errors import EANError


def fresh(evaluator: Evaluator) -> Evaluator:
    """Copy the metrics, with what they collect, but not what they only look up.

    Collections are copied; an annotation database is shared.
    """
    evaluator = copy.copy(evaluator)
    evaluator.metrics = [copy.copy(metric) for metric in evaluator.metrics]
    for metric in evaluator.metrics:
        for name, value in vars(metric).items():
            if isinstance(value, (list, dict, set, np.ndarray, Tensor)):
                setattr(metric, name, copy.deepcopy(value))
    return evaluator


def require_images(dataset: Any) -> None:
    """Refuse an empty reward set."""
    if len(dataset) == 0:
        raise EANError(
            'the reward set is empty: no image to score masks on; hold out more images '
            "(HeldOutSplit's num_per_class) or name another data set"
        )


def image_names(dataset: Any) -> List[str]:
    """Name every image of a data set, without decoding it.

    The name is the image's path, the hash of an image in memory, or else what the data
    set says of it. Images of a data set that says nothing have numbers.
    """
    if not hasattr(dataset, 'get_data_info'):
        return [str(index) for index in range(len(dataset))]
    names = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        if 'img' in info:
            names.append(hashlib.sha256(info['img'].tobytes()).hexdigest())
        elif 'img_path' in info:
            names.append(str(info['img_path']))
        else:
            facts = {key: info[key] for key in info if key != 'sample_idx'}
            names.append(json.dumps(facts, skipkeys=True, default=_as_list))
    return names


def distinct_images(dataset: Any) -> Set[str]:
    """Name the images that a data set tells apart, each once."""
    numbers = Counter(image_names(dataset))
    # What is said of several images, in JSON, is the name of none.
    return {n for n, number in numbers.items() if number == 1 or not n.startswith('{')}


def _as_list(value: Any) -> Any:
    return value.tolist() if hasattr(value, 'tolist') else type(value).__name__


def hash_of_images(dataset: Any) -> str:
    """Hash which images a data set has, and their labels."""
    classes = classes_of(dataset) or []
    labels = [each[0] if len(each) == 1 else each for each in classes]
    facts = json.dumps([image_names(dataset), labels])
    return hashlib.sha256(facts.encode()).hexdigest()


def hash_of_weights(weights: Dict[str, Tensor]) -> str:
    """Hash a model's weights and buffers."""
    content = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        content.update(name.encode())
        array: Any = tensor.detach().cpu().contiguous().flatten()
        content.update(array.view(torch.uint8).numpy())
    return content.hexdigest()


def refuse_overlap(train_set: Any, reward_set: Any, logger: Logger) -> None:
    """Refuse a reward set that the supernet trains on; warn of duplicates.

    Images that their data set does not tell apart are not compared.
    """
    if not all(hasattr(side, 'get_data_info') for side in (train_set, reward_set)):
        return
    overlap = len(distinct_images(reward_set) & distinct_images(train_set))
    if not overlap:
        return
    if isinstance(reward_set, HeldOutSplit) and all(
        reward_set.is_apart_from(side) for side in _parts(train_set)
    ):
        logger.warning(
            f'{overlap} of the {len(reward_set)} reward images have a duplicate that '
            'is trained on'
        )
        return
    raise EANError(
        f'{overlap} of the {len(reward_set)} reward images are trained on; split '
        'the training set by HeldOutSplit, both sides with the same number and seed'
    )


def _parts(dataset: Any) -> List[Any]:
    """Return what a repeated or concatenated data set is made of."""
    if isinstance(dataset, HeldOutSplit):
        return [dataset]
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if inner == [None]:
        return [dataset]
    return [part for each in inner for part in _parts(each)]
