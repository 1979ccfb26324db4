"""Handwritten digits of scikit-learn: a real data set without a download."""

from typing import Any, Dict, List

import numpy as np
from mmengine.registry import DATASETS
from mmpretrain.datasets import BaseDataset
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from ean_mm.errors import EANError


@DATASETS.register_module()
class DigitsDataset(BaseDataset):
    """The 1,797 handwritten digits of scikit-learn's ``load_digits``, 8x8 pixels.

    Images are grey, ``(8, 8, 1)`` uint8 from 0 to 255. A fixed, stratified fifth of
    them is the test set.

    Args:
        split: ``'train'`` (1,437 images) or ``'test'`` (360 images).
        **kwargs: See mmpretrain's ``BaseDataset``.
    """

    METAINFO = dict(classes=[str(digit) for digit in range(10)])

    def __init__(self, split: str = 'train', **kwargs: Any) -> None:
        if split not in ('train', 'test'):
            raise EANError(f"split={split!r} is unknown; use 'train' or 'test'")
        self.split = split
        super().__init__(ann_file='', **kwargs)

    def load_data_list(self) -> List[Dict[str, Any]]:
        """Return one dict an image, with ``img`` and ``gt_label``."""
        digits = load_digits()
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
        train, test = train_test_split(
            np.arange(len(images)),
            test_size=0.2,
            random_state=0,
            stratify=digits.target,
        )
        indices = train if self.split == 'train' else test
        return [dict(img=images[i], gt_label=int(digits.target[i])) for i in indices]
