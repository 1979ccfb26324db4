"""One mask's training: a Runner of its own, without the outside of one."""

import copy
import logging
import math
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import AmpOptimWrapper
from mmengine.registry import DefaultScope
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.visualization import Visualizer
from torch import Tensor
from torch.utils.data import DataLoader

from ean_mm.search.evaluation.base import Measurement
from ean_mm.search.evaluation.batches import seed_from
from ean_mm.search.space import Bits, SearchSpace

CURVE_POINTS = 20
MAX_SKIPPED = 100
"""steps in a row that mixed precision may skip for gradients that are not finite"""

PARTS = (
    'optim_wrapper',
    'auto_scale_lr',
    'param_scheduler',
    'train_cfg',
    'val_cfg',
    'default_hooks',
    'custom_hooks',
    'data_preprocessor',
    'default_scope',
    'env_cfg',
)
"""what a Runner takes over from a config"""


class Diverged(Exception):
    """A loss is not finite."""


class _QuietConfig(Config):
    """A config that is not formatted: that takes mmengine longer than a short run."""

    @property
    def pretty_text(self) -> str:
        return ''

    def dump(self, file: Any = None) -> str:
        return ''


class QuietRunner:
    """Mixin for a Runner inside of another: it says nothing and leaves no files.

    Its model has its weights already.
    """

    def _log_env(self, env_cfg: dict) -> None:
        """Do not look up compilers, which takes a second."""

    def dump_config(self) -> None:
        """Write no config."""

    def _init_model_weights(self) -> None:
        """Keep the weights, which all masks start from."""


class TrainingHook(Hook):
    """Seeds every iteration, keeps the losses, and ends the training at a budget.

    Args:
        seed: Seed; an iteration's random numbers depend on it and its number alone.
        bits: The mask; set when training begins.
        budget: Iterations after which to stop.
        losses: Losses of the iterations done before, to go on with.
    """

    priority = 'VERY_HIGH'

    def __init__(self, seed: int, bits: Bits, budget: int, losses: List[float]) -> None:
        self.seed = seed
        self.bits = bits
        self.budget = budget
        self.losses = losses
        self.times: List[float] = []
        self._num_skipped = 0

    def before_train(self, runner: Runner) -> None:
        loop = runner.train_loop
        if isinstance(loop, IterBasedTrainLoop):
            loop.dataloader_iterator = _Ahead(loop.dataloader, runner.iter)

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
        outputs: Optional[dict] = None,
    ) -> None:
        loss = torch.as_tensor((outputs or {}).get('loss', math.nan)).item()
        self.losses.append(loss)
        self._num_skipped = 0 if math.isfinite(loss) else self._num_skipped + 1
        skips = isinstance(runner.optim_wrapper, AmpOptimWrapper)
        if self._num_skipped > (MAX_SKIPPED if skips else 0):
            raise Diverged
        if runner.iter + 1 >= self.budget:
            runner.train_loop.stop_training = True


class _Ahead:
    """An iteration-based training's batches, those that it has seen left out.

    mmengine's loop passes over them, onedl-mmengine's asks for that.
    """

    def __init__(self, dataloader: DataLoader, seen: int) -> None:
        self._dataloader, self._seen = dataloader, seen
        self._batches: Optional[Iterator[Any]] = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._seen:  # the loader begins after these
            self._seen -= 1
            return None
        if self._batches is None:
            self._batches = iter(self._dataloader)
        return next(self._batches)

    def skip_iter(self, num_iters: int) -> None:
        """Pass over the batches seen."""
        self._seen -= num_iters


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
    if not isinstance(data_batch, dict):
        return False
    for sample in data_batch.get('data_samples') or []:
        scale = sample.metainfo.get('scale_factor', (1.0, 1.0))
        if any(factor != 1 for factor in np.ravel(scale)):
            return False
    return True


class MaskTraining:
    """Trains the network with a mask, to a budget, and judges it on the reward images.

    Args:
        runner: The run that the search is part of: its class, its model's device.
        cfg: Config of the short training, see
            :func:`~ean_mm.search.evaluation.short_config.short_config`.
        iterations: Iterations of the whole of it.
        start: Weights that every mask starts from.
        seed: Seed of everything random in it.
        space: The masks of the run's model.
    """

    def __init__(
        self,
        runner: Runner,
        cfg: Config,
        iterations: int,
        start: Dict[str, Tensor],
        seed: int,
        space: SearchSpace,
    ) -> None:
        self.cfg = cfg
        self.space = space
        self.iterations = iterations
        self.start = start
        self.seed = seed
        self._kind: Any = type('QuietRunner', (QuietRunner, type(runner)), {})

    def run(
        self,
        bits: Bits,
        budget: int,
        train_loader: DataLoader,
        reward_loader: Any,
        metrics: Evaluator,
        losses: Optional[List[float]] = None,
        resume_from: Optional[Path] = None,
        save_to: Optional[Path] = None,
        judge: bool = True,
    ) -> Tuple[Measurement, TrainingHook]:
        """Train a mask, or go on with it.

        Args:
            bits: The mask.
            budget: Iterations, those done before among them.
            train_loader: Its batches from there on.
            reward_loader: The reward images.
            metrics: The metrics, a copy of their own.
            losses: Losses of the iterations that were done before.
            resume_from: Checkpoint to go on from.
            save_to: Checkpoint to write, to go on from later.
            judge: Whether to measure it on the reward images.

        Returns:
            What was measured, and the hook that has the losses and times.
        """
        hook = TrainingHook(self.seed, bits, budget, list(losses or []))
        reward_loss = RewardLossHook(self.seed)
        with _surroundings() as folder:
            runner = self._build(folder, train_loader, reward_loader, metrics)
            self.space.like(runner.model).apply(bits)
            if resume_from is not None:
                runner._load_from, runner._resume = str(resume_from), True
            else:
                runner.model.load_state_dict(self.start)
            runner.register_hook(hook)
            runner.register_hook(reward_loss)
            try:
                runner.train()
                results = runner.val_loop.run() if judge else {}
            except Diverged:
                return self._measurement({}, None, hook.losses, budget), hook
            finally:
                _shut_down(train_loader)
            if save_to is not None:
                runner.save_checkpoint(
                    str(save_to.parent),
                    save_to.name,
                    meta=dict(epoch=runner.epoch, iter=runner.iter),
                    backend_args=dict(backend='atomic'),
                )
        return self._measurement(results, reward_loss.loss, hook.losses, budget), hook

    def _build(
        self,
        folder: str,
        train_loader: DataLoader,
        reward_loader: Any,
        metrics: Evaluator,
    ) -> Any:
        cfg = _QuietConfig(self.cfg._cfg_dict)
        return self._kind(
            model=copy.deepcopy(cfg.model),
            work_dir=folder,
            train_dataloader=train_loader,
            val_dataloader=reward_loader,
            val_evaluator=metrics,
            randomness=dict(cfg.get('randomness') or {}, seed=self.seed),
            log_level='ERROR',
            experiment_name=Path(folder).name,
            cfg=cfg,
            **{part: copy.deepcopy(cfg[part]) for part in PARTS if part in cfg},
        )

    def _measurement(
        self,
        results: Dict[str, float],
        loss: Optional[float],
        losses: List[float],
        budget: int,
    ) -> Measurement:
        diverged = not all(map(math.isfinite, losses))
        second_half = losses[len(losses) // 2 :]
        edges = np.linspace(0, self.iterations, CURVE_POINTS + 1).round().astype(int)
        parts = [losses[a:b] for a, b in zip(edges, edges[1:]) if b <= len(losses)]
        return Measurement(
            metrics=results,
            loss=None if loss is None or not math.isfinite(loss) else loss,
            train_loss=None if diverged else float(np.mean(second_half)),
            curve=tuple(
                round(float(np.mean(part)), 5)
                for part in parts
                if part and np.isfinite(part).all()
            ),
            diverged=diverged,
            iterations=budget,
        )


def _shut_down(loader: DataLoader) -> None:
    """End persistent workers, which would wait for more batches."""
    iterator = getattr(loader, '_iterator', None)
    if iterator is not None:
        iterator._shutdown_workers()
        loader._iterator = None


@contextmanager
def _surroundings() -> Iterator[str]:
    """Give a Runner a folder, and take back what it leaves in the process.

    mmengine keeps every logger, visualizer and message hub by its name, and what is
    asked for the current one gets the last.
    """
    managers: Tuple[Any, ...] = (MMLogger, MessageHub, Visualizer, DefaultScope)
    before = [set(manager._instance_dict) for manager in managers]
    folder = tempfile.mkdtemp(prefix='ean_mm_mask_')
    try:
        yield folder
    finally:
        for manager, known in zip(managers, before):
            for name in [n for n in manager._instance_dict if n not in known]:
                instance = manager._instance_dict.pop(name)
                if isinstance(instance, logging.Logger):
                    for handler in instance.handlers:
                        handler.close()
        shutil.rmtree(folder, ignore_errors=True)
