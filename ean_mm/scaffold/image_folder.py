"""What a folder of images has: classes, how many images, and of which size."""

import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets.custom import find_folders, get_samples
from PIL import Image

from ean_mm.errors import EANError, one_line

TRAIN = ('train', 'training')
TEST = ('test', 'val', 'valid', 'validation')
MEASURED = 200
"""images whose size is looked at"""
HELD_OUT_SHARE, MOST_HELD_OUT = 0.2, 100
"""of each class' images; and how many of a class are enough"""
LEAST_IMAGES = 5
"""images of a class, so that some are left on every side"""


@dataclass(frozen=True)
class ImageFolder:
    """A folder whose subfolders are classes."""

    root: str
    train: str
    """its subfolder of training images; empty for the folder itself"""
    test: Optional[str]
    """its subfolder of test images; None if they are held out of the others"""
    classes: Tuple[str, ...]
    images: int
    """training images, those that are held out among them"""
    smallest: int
    """images of the class that has fewest"""
    edge: int
    """median of the images' shorter edges, in pixels"""
    same_size: bool
    """whether all images that were looked at are squares of this edge"""

    @property
    def topk(self) -> Tuple[int, ...]:
        """Of which numbers of best classes the accuracy says something."""
        return (1, 5) if len(self.classes) > 5 else (1,)

    @property
    def held_out_for_test(self) -> int:
        """Images of each class to hold out as a test set; 0 if there is one."""
        return 0 if self.test else held_out(self.smallest)

    @property
    def held_out_for_reward(self) -> int:
        """Images of each class to hold out of the training set, to reward masks on."""
        return held_out(self.smallest - self.held_out_for_test)

    @property
    def trained_on(self) -> int:
        """Images that a network trains on that is not searched."""
        return self.images - self.held_out_for_test * len(self.classes)


def held_out(images: int) -> int:
    """How many of a class' images to hold out."""
    return min(max(round(images * HELD_OUT_SHARE), 1), MOST_HELD_OUT)


def read_image_folder(root: str) -> ImageFolder:
    """Look at a folder of images.

    Args:
        root: A folder with a subfolder for each class, or with folders ``train`` and
            ``test`` (or ``val``) that have these subfolders.

    Raises:
        ValueError: There is no such folder, it has fewer than two classes, a class has
            too few images, or the test images have other classes.
    """
    if not Path(root).is_dir():
        raise EANError(f'there is no folder {root}; name a folder of images')
    train = _first(root, TRAIN)
    test = _first(root, TEST) if train else None
    classes, samples = _samples(Path(root, train or ''))
    numbers = Counter(label for _, label in samples)
    fewest = min(range(len(classes)), key=lambda label: numbers[label])
    if numbers[fewest] < LEAST_IMAGES:
        raise EANError(
            f'class {classes[fewest]!r} in {root} has {numbers[fewest]} images; '
            f'give every class {LEAST_IMAGES} or more, or remove its folder'
        )
    if test:
        others, _ = _samples(Path(root, test))
        if others != classes:
            different = ', '.join(sorted(set(others) ^ set(classes))[:5])
            raise EANError(
                f'{root}/{train} and {root}/{test} have different classes: only one '
                f'of them has {different}'
            )
    edge, same_size = _size([path for path, _ in samples])
    return ImageFolder(
        root,
        train or '',
        test,
        tuple(classes),
        len(samples),
        numbers[fewest],
        edge,
        same_size,
    )


def _first(root: str, names: Sequence[str]) -> Optional[str]:
    return next((name for name in names if Path(root, name).is_dir()), None)


def _samples(folder: Path) -> Tuple[List[str], List[Tuple[Path, int]]]:
    """Return the classes, and path and label of each image, as mmpretrain reads it."""
    classes, labels = find_folders(str(folder))
    reader = CustomDataset(data_root=str(folder), lazy_init=True)
    samples, _ = get_samples(str(folder), labels, is_valid_file=reader.is_valid_file)
    if len(classes) < 2 or not samples:
        raise EANError(
            f'{folder} has no images of two or more classes; put those of each class '
            f'into a folder of its own, as {folder}/CLASS/NAME.jpg'
        )
    return classes, [(folder / name, label) for name, label in samples]


def _size(paths: Sequence[Path]) -> Tuple[int, bool]:
    """Return the median of the shorter edges, and whether all are such squares."""
    sizes = []
    for path in paths[:: max(len(paths) // MEASURED, 1)]:
        try:
            with Image.open(path) as image:
                sizes.append(image.size)
        except OSError as error:
            problem = one_line(error)
    if not sizes:
        raise EANError(f'no image in {paths[0].parent} can be read: {problem}')
    edge = round(statistics.median(map(min, sizes)))
    return edge, set(sizes) == {(edge, edge)}
