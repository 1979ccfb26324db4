"""What data sets say of the classes of their images."""

from typing import Any, List, Optional, Tuple

import numpy as np
from mmpretrain.models import MultiLabelClsHead
from torch import nn
from torch.utils.data import ConcatDataset

from ean_mm.errors import EANError, one_line


def classes_of(dataset: Any) -> Optional[List[Tuple[int, ...]]]:
    """Return the classes of every image: one, or any number with several labels.

    Returns None for a data set without such labels, as those of detection,
    segmentation, retrieval, captions or images alone.
    """
    labels = _labels(dataset)
    if labels is None:
        return None
    return [tuple(label.ravel().tolist()) for label in labels]


def _labels(dataset: Any) -> Optional[List[np.ndarray]]:
    """Return what each image has as its label: a number, or several in a row."""
    if isinstance(dataset, ConcatDataset):
        parts = [_labels(part) for part in dataset.datasets]
        known = [part for part in parts if part is not None]
        return sum(known, []) if len(known) == len(parts) else None
    if not hasattr(dataset, 'get_gt_labels'):
        return None
    try:
        try:
            labels = dataset.get_gt_labels()
        except ValueError:  # numpy makes no array of lists of several lengths
            labels = [dataset.get_cat_ids(index) for index in range(len(dataset))]
        labels = [np.asarray(label) for label in labels]
    except (AttributeError, KeyError, NotImplementedError):  # images without labels
        return None
    numbers = all(label.dtype.kind in 'iu' for label in labels if label.size)
    return labels if numbers else None


def require_labels(model: nn.Module, dataset: Any, where: str) -> None:
    """Refuse a data set with a label that a classifier has no output for.

    PyTorch would stop at the first such image, with a traceback, or on a GPU with one
    that does not name it.

    Args:
        model: The model; only one whose head has ``num_classes`` is looked at.
        dataset: The data set; only one with labels for each image is looked at.
        where: What the data set is, for the message.
    """
    head = getattr(model, 'head', None)
    num_classes = getattr(head, 'num_classes', None)
    if not isinstance(num_classes, int):
        return
    labels = _labels(dataset) or []
    if not isinstance(head, MultiLabelClsHead) and any(x.ndim for x in labels):
        return  # no classes, but what of a gallery is to be retrieved
    wrong = [
        (index, int(label.min() if label.min() < 0 else label.max()))
        for index, label in enumerate(labels)
        if label.size and not 0 <= label.min() <= label.max() < num_classes
    ]
    if wrong:
        index, label = wrong[0]
        info = dataset.get_data_info(index)
        image = one_line(info.get('img_path', f'image {index}'), 300)
        raise EANError(
            f'{len(wrong)} of the {len(dataset)} images of '
            f'{where} have a label that the model has no output for, the first being '
            f'{label} of {image}; labels go from 0 to {num_classes - 1}: mend them, or '
            'set model.head.num_classes'
        )
