"""Random numbers that a resumed run draws as an undisturbed one does."""

from functools import partial
from typing import Any, Iterator

import numpy as np
from mmengine.dataset import worker_init_fn
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner, set_random_seed
from torch.utils.data import DataLoader


@HOOKS.register_module()
class ReseedHook(Hook):
    """Seeds what a training draws from, so that resuming it is exact.

    Random numbers are drawn from (seed, iteration, rank): by every epoch of an
    :class:`EpochBasedTrainLoop`, and by every iteration of an
    :class:`IterBasedTrainLoop`, which passes over the data it has seen when it
    resumes. No random state needs to be saved, then, and those of the data loader's
    workers could not be. Persistent workers are started again for every epoch.
    """

    priority = 'VERY_LOW'

    def before_train(self, runner: Runner) -> None:
        loop = runner.train_loop
        if not isinstance(loop, EpochBasedTrainLoop):
            loop.dataloader_iterator = _SeededBatches(runner, loop.dataloader_iterator)

    def before_train_epoch(self, runner: Runner) -> None:
        loader = runner.train_dataloader
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        seed = _seed(runner, runner.iter)
        if isinstance(loader, DataLoader) and loader.num_workers:
            init = loader.worker_init_fn
            if isinstance(init, partial) and init.func is worker_init_fn:
                # mmengine's gives the workers the same seeds in every epoch
                loader.worker_init_fn = partial(init, seed=seed)
            loader._iterator = None  # persistent workers go on with their old states


class _SeededBatches:
    """A training's batches, from the first one on; seeds before each.

    Args:
        runner: The runner.
        batches: The batches.
    """

    def __init__(self, runner: Runner, batches: Iterator[Any]) -> None:
        self._runner = runner
        self._batches = batches
        self._iteration = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        _seed(self._runner, self._iteration)
        self._iteration += 1
        return next(self._batches)

    def skip_iter(self, num_iters: int) -> None:
        """Pass over the batches seen, as mmengine's loop does and onedl's asks for.

        Not by onedl's short cut, which leaves out what the workers would have drawn.
        """
        for _ in range(num_iters):
            next(self)


def _seed(runner: Runner, iteration: int) -> int:
    """Seed what the main process draws from; return the seed, of 31 bits."""
    sequence = np.random.SeedSequence((runner.seed, iteration, runner.rank))
    # mmengine adds the worker's number to it; numpy takes 32 bits
    seed = int(sequence.generate_state(1)[0] >> 1)
    return set_random_seed(seed)
