"""Batch norm statistics for one mask of a supernet."""

import copy
import random
from contextlib import contextmanager
from typing import Any, Iterator, List, Sequence

import numpy as np
import torch
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import nn
from torch.utils.data import DataLoader, Subset

from ean_mm.models.masked import unwrapped


class BNCalibration:
    """Re-estimates the batch norm statistics of a model on some training batches.

    A supernet's running statistics average over all masks that it was trained with;
    those of a single mask differ. Source: Yu & Huang, 2019, universally slimmable
    networks (https://arxiv.org/abs/1903.05134), section 3.2.

    Args:
        model: The model, wrapped for distributed training or not. Only its running
            statistics change.
        batches: The training batches to average over, the same ones for every mask
            and on every rank.
    """

    def __init__(self, model: nn.Module, batches: Sequence[Any]) -> None:
        self.model = unwrapped(model)
        self.batches = batches
        self.layers: List[Any] = [
            layer
            for layer in self.model.modules()
            if isinstance(layer, _BatchNorm) and layer.track_running_stats
        ]
        self._saved = [(copy.deepcopy(e.state_dict()), e.momentum) for e in self.layers]

    @torch.no_grad()
    def adapt(self) -> None:
        """Replace the statistics by those of the model under its present mask."""
        self.model.eval()
        for layer in self.layers:
            layer.reset_running_stats()
            layer.momentum = None  # a plain average over the batches
            layer.train()
        with _seeded(0):  # a mask's reward must not depend on when it is evaluated
            for batch in self.batches:
                data = self.model.data_preprocessor(batch, True)
                self.model(**data, mode='loss')
        self.model.eval()

    def restore(self) -> None:
        """Put the supernet's own statistics back."""
        for layer, (state, momentum) in zip(self.layers, self._saved):
            layer.load_state_dict(state)
            layer.momentum = momentum


def draw_batches(dataloader: DataLoader, number: int, seed: int = 0) -> List[Any]:
    """Draw batches of a training loader, the same ones on every rank and every time.

    Args:
        dataloader: The training loader.
        number: How many batches; fewer if the data set is too small for as many.
        seed: Seed of the choice of images and of their augmentation.
    """
    if number == 0:
        return []
    dataset: Any = dataloader.dataset
    sampler: Any = dataloader.batch_sampler
    batch_size = dataloader.batch_size or sampler.batch_size
    with _seeded(seed):
        indices = torch.randperm(len(dataset))[: number * batch_size].tolist()
        return list(
            DataLoader(
                Subset(dataset, indices),
                batch_size,
                drop_last=len(indices) > batch_size,
                collate_fn=dataloader.collate_fn,
            )
        )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the random streams that augmentations draw from, and put them back."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
