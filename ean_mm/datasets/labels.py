"""What data sets say of the classes of their images."""

from typing import Any, List, Optional, Tuple

import numpy as np
from torch import nn
from torch.utils.data import ConcatDataset

from ean_mm.errors import EANError, one_line


def classes_of(dataset: Any) -> Optional[List[Tuple[int, ...]]]:
    """Return the classes of every image: one, or any number with several labels.

    Returns None for a data set without such labels, as those of detection,
    segmentation, retrieval, captions or images alone.
    """
    if isinstance(dataset, ConcatDataset):
        found: List[Tuple[int, ...]] = []
        for part in dataset.datasets:
            of_part = classes_of(part)
            if of_part is None:
                return None
            found += of_part
        return found
    if not hasattr(dataset, 'get_gt_labels'):
        return None
    try:
        labels = _labels(dataset)
    except (AttributeError, KeyError, NotImplementedError):  # images without labels
        return None
    if any(label.dtype.kind not in 'iu' for label in labels if label.size):
        return None
    return [tuple(label.ravel().tolist()) for label in labels]


def _labels(dataset: Any) -> List[np.ndarray]:
    try:
        labels = dataset.get_gt_labels()
    except ValueError:  # numpy makes no array of lists of several lengths
        labels = [dataset.get_cat_ids(index) for index in range(len(dataset))]
    return [np.asarray(label) for label in labels]


def require_labels(model: nn.Module, dataset: Any, where: str) -> None:
    """Refuse a data set with a label that a classifier has no output for.

    PyTorch would stop at the first such image, with a traceback, or on a GPU with one
    that does not name it.

    Args:
        model: The model; only one whose head has ``num_classes`` is looked at.
        dataset: The data set; only one with labels for each image is looked at.
        where: What the data set is, for the message.
    """
    num_classes = getattr(getattr(model, 'head', None), 'num_classes', None)
    if not isinstance(num_classes, int):
        return
    wrong = [
        (index, label)
        for index, labels in enumerate(classes_of(dataset) or ())
        for label in labels
        if not 0 <= label < num_classes
    ]
    if wrong:
        index, label = wrong[0]
        info = dataset.get_data_info(index)
        image = one_line(info.get('img_path', f'image {index}'), 300)
        raise EANError(
            f'{len({index for index, _ in wrong})} of the {len(dataset)} images of '
            f'{where} have a label that the model has no output for, the first being '
            f'{label} of {image}; labels go from 0 to {num_classes - 1}: mend them, or '
            'set model.head.num_classes'
        )
