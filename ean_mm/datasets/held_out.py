"""Hold images out of a training set, to reward masks on."""

from typing import Any, Dict, List, Optional, Sequence, Set

import numpy as np
import torch
from mmengine.registry import DATASETS
from torch import Tensor
from torch.utils.data import ConcatDataset

from ean_mm.datasets.labels import classes_of
from ean_mm.datasets.stand_in import DatasetStandIn
from ean_mm.errors import EANError, one_line

MAX_UNREADABLE = 10
"""images in a row that cannot be read before training stops"""


@DATASETS.register_module()
class HeldOutSplit(DatasetStandIn):
    """One side of a seeded split of a training set.

    The supernet trains on one side (``held_out=False``) and masks are rewarded on the
    other (``held_out=True``), so that the search never sees the test set. Both sides
    name the same data set and split, each with the pipeline it needs.

    A training image that cannot be read is replaced by another one, drawn at random;
    :attr:`unreadable` lists them, and ``UnreadableImagesHook`` logs how many there are.
    A held out one stops the run, since masks are compared on all of them.

    Args:
        dataset: Config of the training set: any mmengine ``BaseDataset``,
            one side of a split, or several of them in a ``ConcatDataset``. Wrappers
            that repeat or mix images go around the split.
        held_out: Which side this is.
        num_per_class: Number of images of each class to hold out; needs a
            classification data set. Of images with several labels at least as many of
            each class are held out.
        num_images: Number of images to hold out regardless of class, for detection
            and segmentation. Give one of the two numbers.
        seed: Seed of the split.
        pipeline: Pipeline of the images, in the place of the data set's. mmpretrain's
            inferencers look for that of the test images here.

    Raises:
        ValueError: Not exactly one number given, or more images asked for than there
            are; later, a held out image cannot be read, or ten others in a row.
    """

    held_out: bool
    indices: List[int]
    _source: Any
    _unreadable: Tensor

    def __init__(
        self,
        dataset: Dict[str, Any],
        held_out: bool,
        num_per_class: Optional[int] = None,
        num_images: Optional[int] = None,
        seed: int = 0,
        pipeline: Optional[Sequence[Any]] = None,
    ) -> None:
        if (num_per_class is None) == (num_images is None):
            raise EANError('HeldOutSplit takes either num_per_class or num_images')
        if pipeline is not None:
            dataset = dict(dataset, pipeline=pipeline)
        try:
            super().__init__(DATASETS.build(dataset))
            if hasattr(self.dataset, 'full_init'):
                self.dataset.full_init()
        except (FileNotFoundError, RuntimeError) as error:
            raise EANError(f'the data set to split is not there: {error}') from error
        rng = np.random.default_rng(seed)
        if num_images is not None:
            everything = range(len(self.dataset))
            _require_rest(everything, num_images, 'data set')
            chosen = rng.choice(everything, num_images, replace=False)
        elif num_per_class is not None:
            chosen = _choose_per_class(self.dataset, num_per_class, rng)
        if not held_out:
            chosen = np.setdiff1d(np.arange(len(self.dataset)), chosen)
        self.held_out = held_out
        self._source = _without_pipelines(dataset)
        self.indices = list(range(len(self.dataset)))
        self.get_subset_(sorted(chosen.tolist()))
        if held_out and hasattr(self.dataset, 'max_refetch'):
            self.dataset.max_refetch = 0  # it would replace images without a word

    def is_apart_from(self, other: Any) -> bool:
        """Whether another split is of the same data set and has none of its images."""
        return (
            isinstance(other, HeldOutSplit)
            and self._source == other._source
            and not set(self.indices) & set(other.indices)
        )

    def get_subset_(self, indices: Sequence[int]) -> None:
        """Keep some of the images, so that a split can be split again."""
        self.indices = [self.indices[index] for index in indices]
        _keep(self.dataset, list(indices))
        # shared with the workers of a data loader
        self._unreadable = torch.zeros(len(self), dtype=torch.bool).share_memory_()

    @property
    def unreadable(self) -> List[str]:
        """Training images that could not be read so far, in any worker."""
        return [
            self._name(index) for index in self._unreadable.nonzero()[:, 0].tolist()
        ]

    def _name(self, index: int) -> str:
        if not hasattr(self, 'get_data_info'):
            return f'number {index}'
        return str(self.get_data_info(index).get('img_path', f'number {index}'))

    def __getitem__(self, index: Any) -> Any:
        for _ in range(MAX_UNREADABLE):
            try:
                return self.dataset[index]
            except Exception as error:  # decoders raise almost anything
                frame = isinstance(index, tuple)  # of a video, which it counts in
                name = one_line(self._name(index[0] if frame else index), 300)
                reason = one_line(error)
                if self.held_out or frame:
                    side = 'held out' if self.held_out else 'training'
                    raise EANError(
                        f'the {side} image {name} cannot be read: {reason}; mend it, '
                        'or remove it from the data set'
                    ) from error
                self._unreadable[index] = True
                index = np.random.randint(len(self))
        raise EANError(
            f'{MAX_UNREADABLE} training images in a row cannot be read, the last being '
            f'{name}: {reason}; mend the data set or its pipeline'
        )


def _keep(dataset: Any, indices: List[int]) -> None:
    """Let a data set have some of its images only, where it can or its parts can."""
    number = len(indices)
    if hasattr(dataset, 'text_size') and dataset.test_mode:
        raise EANError(
            f'a {type(dataset).__name__} for tests cannot be split, since images and '
            'texts are numbered by each other; split its annotation file'
        )
    if isinstance(dataset, ConcatDataset):
        starts = [0, *dataset.cumulative_sizes]
        for part, start, end in zip(dataset.datasets, starts, starts[1:]):
            _keep(part, [index - start for index in indices if start <= index < end])
        # mmdet's metainfo has the same list
        dataset.cumulative_sizes[:] = dataset.cumsum(dataset.datasets)
    elif hasattr(dataset, 'get_subset_'):
        try:
            dataset.get_subset_(indices)
        except NotImplementedError:  # mmengine's wrappers that repeat images
            pass
    elif isinstance(getattr(dataset, 'data_list', None), list):
        dataset.data_list = [dataset.data_list[index] for index in indices]
    elif hasattr(dataset, 'dataset') and len(dataset.dataset) == len(dataset):
        _keep(dataset.dataset, indices)
    if len(dataset) != number:
        kind = type(dataset).__name__
        raise EANError(
            f'a {kind} cannot be split, since its images may come several times; put '
            f"it around the split: dict(type='{kind}', "
            "dataset=dict(type='HeldOutSplit', ...))"
        )


def _without_pipelines(dataset: Any) -> Any:
    if not isinstance(dataset, dict):
        return dataset
    return {k: _without_pipelines(v) for k, v in dataset.items() if k != 'pipeline'}


def _choose_per_class(
    dataset: Any, number: int, rng: np.random.Generator
) -> np.ndarray:
    classes = classes_of(dataset)
    if classes is None:
        raise EANError(
            f'{type(dataset).__name__} has no class for each image; hold out '
            'num_images instead of num_per_class'
        )
    images: Dict[int, List[int]] = {}
    for index, labels in enumerate(classes):
        for label in set(labels):
            images.setdefault(label, []).append(index)
    names = dict(enumerate(dataset.metainfo.get('classes') or ()))
    chosen: Set[int] = set()
    for label in sorted(images):
        _require_rest(images[label], number, f'class {names.get(label, label)!r}')
        free = [index for index in images[label] if index not in chosen]
        missing = number - (len(images[label]) - len(free))
        if missing > 0:
            chosen.update(rng.choice(free, missing, replace=False).tolist())
    for label, having in images.items():
        if chosen.issuperset(having):  # by other classes of the same images
            raise EANError(
                f'holding {number} images of each class out takes all '
                f'{len(having)} of class {names.get(label, label)!r}; hold fewer out'
            )
    return np.array(sorted(chosen))


def _require_rest(images: Sequence[int], number: int, where: str) -> None:
    if not 0 < number < len(images):
        raise EANError(
            f'cannot hold {number} images out of the {len(images)} of {where}; some '
            'must be left on either side'
        )
