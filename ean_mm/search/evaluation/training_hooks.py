"""What watches over one mask's training: its seeds, its losses, its end."""

import copy
import math
import time
from itertools import chain, repeat
from typing import Any, List, Optional

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import IterBasedTrainLoop, Runner

from ean_mm.search.evaluation.batches import seed_from

MAX_SKIPPED = 100
"""steps in a row that mixed precision may skip for gradients that are not finite"""


class Diverged(Exception):
    """A loss is not finite."""


class TrainingHook(Hook):
    """Seeds every iteration, keeps the losses, and ends the training at a budget.

    Args:
        seed: Seed; an iteration's random numbers depend on it and its number alone.
        budget: Iterations after which to stop.
        losses: Losses of the iterations done before, to go on with.
    """

    priority = 'VERY_HIGH'

    def __init__(self, seed: int, budget: int, losses: List[float]) -> None:
        self.seed = seed
        self.budget = budget
        self.losses = losses
        self.times: List[float] = []
        self._num_skipped = 0

    def before_train(self, runner: Runner) -> None:
        loop = runner.train_loop
        if isinstance(loop, IterBasedTrainLoop):
            # the loader begins after the batches seen
            loop.dataloader_iterator = _Ahead(
                repeat(None, runner.iter), loop.dataloader
            )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        self.times.append(time.perf_counter())
        seed_from(self.seed, runner.iter, 1)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        loss = torch.as_tensor((outputs or {}).get('loss', math.nan)).item()
        self.losses.append(loss)
        self._num_skipped = 0 if math.isfinite(loss) else self._num_skipped + 1
        skips = isinstance(runner.optim_wrapper, AmpOptimWrapper)
        if self._num_skipped > (MAX_SKIPPED if skips else 0):
            raise Diverged
        if runner.iter + 1 >= self.budget:
            runner.train_loop.stop_training = True


class _Ahead(chain):
    """An iteration-based training's batches, those that it has seen left out."""

    def skip_iter(self, num_iters: int) -> None:
        """Pass over the batches seen, as mmengine's loop does and onedl's asks for."""
        for _ in range(num_iters):
            next(self)


class RewardLossHook(Hook):
    """Averages the loss over the reward images, beside their metric.

    Detectors and segmentors whose pipeline resizes an image but not its annotation have
    no loss there, and None is kept.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.total, self.images = 0.0, 0
        self.loss: Optional[float] = None

    @torch.no_grad()
    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        if self.images < 0 or not _fits(data_batch):
            self.images = -1
            return
        model: Any = runner.model
        with torch.random.fork_rng():
            seed_from(self.seed, batch_idx, 2)  # of samplers of boxes
            data = model.data_preprocessor(copy.copy(data_batch), False)
            losses = model._run_forward(data, mode='loss')
        loss, _ = model.parse_losses(losses)
        self.total += float(loss) * len(outputs)
        self.images += len(outputs)

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        if self.images > 0:
            self.loss = self.total / self.images


def _fits(data_batch: Any) -> bool:
    """Whether annotations are in the coordinates of the images that a network sees."""
    return isinstance(data_batch, dict) and all(
        np.all(np.asarray(sample.metainfo.get('scale_factor', 1)) == 1)
        for sample in data_batch.get('data_samples') or []
    )
