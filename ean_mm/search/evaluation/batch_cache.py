"""Decode the reward set once, and keep it."""

import copy
import re
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Union

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ean_mm.errors import EANError, one_line


class Batches:
    """The batches of a data loader, for a loop that may write to them.

    Args:
        dataloader: The loader. An image that it cannot decode is one line.
    """

    def __init__(self, dataloader: DataLoader) -> None:
        self.dataloader = dataloader
        self.dataset = dataloader.dataset

    def __len__(self) -> int:
        return len(self.dataloader)

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches, or say in one line why there is none."""
        try:
            yield from self.dataloader
        except EANError:
            raise
        except Exception as error:  # decoders raise almost anything
            # One from a worker ends in the message, after the worker's traceback.
            reason = one_line(str(error).strip().rpartition('\n')[2], 400)
            raise EANError(
                f'an image of the reward set cannot be read: {reason}; mend it, or '
                'remove it from the data set'
            ) from error


class BatchCache(Batches):
    """The batches of a data loader, decoded in the first pass and kept for the others.

    Images are kept in memory up to a budget and beyond it in a memory-mapped file that
    vanishes with the process. Annotations stay in memory.

    Args:
        dataloader: Loader that deals the same batches in every pass.
        budget: Bytes of images to keep in memory.
        folder: Where the file goes; the system's temporary folder by default.
    """

    def __init__(
        self, dataloader: DataLoader, budget: int, folder: Optional[Path] = None
    ) -> None:
        super().__init__(dataloader)
        self.budget = budget
        self.folder = folder
        self.memory = 0
        """bytes of images in memory"""
        self.disk = 0
        """bytes of images in the file"""
        self._batches: List[Any] = []
        self._complete = False
        self._file: Any = None

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches, each a copy whose annotations may be written to."""
        if self._complete:
            yield from map(_own_annotations, self._batches)
            return
        self._batches.clear()
        self.memory = self.disk = 0
        for batch in super().__iter__():
            # Copies, for a worker's tensors hold a file descriptor each.
            kept = _own_annotations(_map_images(batch, self._keep))
            self._batches.append(kept)
            yield _own_annotations(kept)
        self._complete = True

    def _keep(self, image: Tensor) -> Tensor:
        size = image.numel() * image.element_size()
        if size == 0 or self.memory + size <= self.budget:
            self.memory += size
            return image.clone()
        if self._file is None:
            if self.folder is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self.folder)
        offset = self.disk
        content = image.contiguous().view(-1).view(torch.uint8).numpy()
        self._file.seek(offset)
        self._file.write(content)  # unlike tofile, says why it fails
        self._file.flush()
        self.disk += size
        # copy-on-write: nothing that happens to an image reaches the file
        mapped = np.memmap(self._file, np.uint8, 'c', offset, (size,))
        return torch.from_numpy(mapped).view(image.dtype).view(image.shape)


def _map_images(batch: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to the images of a batch, wherever they are nested."""
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, dict):
        return {key: _map_images(value, function) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)) and not hasattr(batch, '_fields'):
        return type(batch)(_map_images(value, function) for value in batch)
    return batch


def _own_annotations(batch: Any) -> Any:
    """Copy a batch except for its images: predictions are written into annotations."""
    images: dict = {}
    _map_images(batch, lambda image: images.setdefault(id(image), image))
    return copy.deepcopy(batch, images)


def num_bytes(memory: Union[int, str]) -> int:
    """Read an amount of memory, as 500000000, '500MB' or '2GiB'."""
    match = re.fullmatch(r'(\d+(?:\.\d+)?) *([kMGT]?)(i?)B?', str(memory))
    if match is None:
        raise EANError(f"{memory!r} is no amount of memory; write it as '2GiB'")
    number, prefix, binary = match.groups()
    return int(
        float(number) * (1024 if binary else 1000) ** ' kMGT'.find(prefix or ' ')
    )
