"""The batches of a short training: those of the long one, the same for every mask."""

import copy
import random
from itertools import count, islice
from typing import Any, Iterator, List, Tuple

import numpy as np
import torch
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ean_mm.datasets.stand_in import DatasetStandIn

Draw = Tuple[int, int]
"""number of an image in the training, counted from 0, and its index in the data set"""


def seed_from(*numbers: int) -> None:
    """Seed Python's, NumPy's and PyTorch's random numbers from several numbers."""
    state = np.random.SeedSequence(numbers).generate_state(1)
    seed = int(state[0])
    random.seed(seed)
    np.random.seed(seed)
    # torch.manual_seed keeps a stack trace for each kind of device that is not in use:
    # 1 ms a call, where an image takes 0.2 ms.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


class SeededDataset(DatasetStandIn):
    """A data set whose augmentation depends on when an image is drawn, and on a seed.

    Args:
        dataset: The data set.
        seed: Seed of the augmentation.
    """

    draw_seed: int

    def __init__(self, dataset: Any, seed: int) -> None:
        super().__init__(dataset)
        self.draw_seed = seed

    def __getitem__(self, draw: Draw) -> Any:
        number, index = draw
        seed_from(self.draw_seed, number)
        return self.dataset[index]


class ShortEpochs:
    """A batch sampler that cuts a training's batches into epochs of another length.

    The epochs of a training keep their number, on which schedules and hooks depend, and
    become shorter. One pass over the data set follows the other, as in the long one.

    Args:
        batch_sampler: Deals the indices of a batch.
        length: Batches of an epoch.
        start: Number of the batch to begin with, counted from 0.
    """

    def __init__(self, batch_sampler: Any, length: int, start: int = 0) -> None:
        self.batch_sampler = batch_sampler
        self.length = length
        self._batches = islice(self._all_batches(), start, None)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[List[Draw]]:
        return islice(self._batches, self.length)

    def _all_batches(self) -> Iterator[List[Draw]]:
        numbers = count()
        for epoch in count():
            own: Any = getattr(self.batch_sampler, 'sampler', None)
            for sampler in (self.batch_sampler, own):
                if hasattr(sampler, 'set_epoch'):
                    sampler.set_epoch(epoch)
            for batch in self.batch_sampler:
                yield [(next(numbers), index) for index in batch]


def short_loader(
    cfg: Any, dataset: Any, seed: int, length: int, start: int = 0
) -> DataLoader:
    """Build the training loader of one mask.

    Args:
        cfg: Config of the training loader.
        dataset: Its data set, which is built once for all masks. What hooks set on it
            (another pipeline) is set on a copy.
        seed: Seed of the order of images and of their augmentation.
        length: Batches of an epoch.
        start: Number of the batch to begin with.
    """
    dataset = _shallow(dataset)
    loader = Runner.build_dataloader(dict(cfg, dataset=dataset), seed=seed)
    return loader_like(
        loader,
        SeededDataset(dataset, seed),
        batch_sampler=ShortEpochs(loader.batch_sampler, length, start),
    )


def loader_like(loader: DataLoader, dataset: Any, **batches: Any) -> DataLoader:
    """Build a loader with another one's workers and collation.

    Args:
        loader: The other one.
        dataset: The data set.
        **batches: Arguments of ``DataLoader`` that say which images a batch has.
    """
    return DataLoader(
        dataset,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
        persistent_workers=loader.num_workers > 0,  # short epochs are many
        **batches,
    )


def _shallow(dataset: Any) -> Any:
    """Copy a data set and those in it, but not what they hold."""
    own = copy.copy(dataset)
    if 'dataset' in vars(own):
        vars(own)['dataset'] = _shallow(own.dataset)
    if 'datasets' in vars(own):
        vars(own)['datasets'] = [_shallow(each) for each in own.datasets]
    return own
