"""Labels that a model has no output for."""

from typing import Any

import numpy as np
from torch import nn

from ean_mm.errors import EANError, one_line


def require_labels(model: nn.Module, dataset: Any, where: str) -> None:
    """Refuse a data set with a label that a classifier has no output for.

    PyTorch would stop at the first such image, with a traceback, or on a GPU with one
    that does not name it.

    Args:
        model: The model; only one whose head has ``num_classes`` is looked at.
        dataset: The data set; only one with a label for each image is looked at.
        where: What the data set is, for the message.
    """
    num_classes = getattr(getattr(model, 'head', None), 'num_classes', None)
    if not isinstance(num_classes, int) or not hasattr(dataset, 'get_gt_labels'):
        return
    try:
        labels = np.asarray(dataset.get_gt_labels())
    except (AttributeError, KeyError, ValueError):  # no label or several an image
        return
    if labels.ndim != 1 or labels.dtype.kind not in 'iu':
        return
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        info = dataset.get_data_info(int(wrong[0]))
        image = one_line(info.get('img_path', f'image {wrong[0]}'), 300)
        raise EANError(
            f'{len(wrong)} of the {len(labels)} images of {where} have a label that '
            f'the model has no output for, the first being {labels[wrong[0]]} of '
            f'{image}; labels go from 0 to {num_classes - 1}: mend them, or set '
            'model.head.num_classes'
        )
