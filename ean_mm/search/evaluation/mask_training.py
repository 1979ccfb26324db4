"""One mask's training: a Runner of its own, without the outside of one."""

import copy
import logging
import math
import tempfile
from contextlib import contextmanager
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import Tensor
from torch.utils.data import DataLoader

from ean_mm.search.evaluation.base import Measurement
from ean_mm.search.evaluation.metric_log import to_log_file
from ean_mm.search.evaluation.training_hooks import (
    Diverged,
    RewardLossHook,
    TrainingHook,
)
from ean_mm.search.space import Bits, SearchSpace

CURVE_POINTS = 20
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


class _QuietConfig(Config):
    """A config that is not formatted: that takes mmengine longer than a short run."""

    @property
    def pretty_text(self) -> str:
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


@dataclass(eq=False)
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

    runner: InitVar[Runner]
    cfg: Config
    iterations: int
    start: Dict[str, Tensor]
    seed: int
    space: SearchSpace

    def __post_init__(self, runner: Runner) -> None:
        self._kind: Any = type('QuietRunner', (QuietRunner, type(runner)), {})
        self._logger = runner.logger

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
        hook = TrainingHook(self.seed, budget, list(losses or []))
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
            results: Dict[str, float] = {}
            try:
                runner.train()
                if judge:
                    with to_log_file(self._logger):
                        results = runner.val_loop.run()
            except Diverged:
                save_to = None  # nothing goes on from there
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
            visualizer=dict(type='Visualizer'),  # which keeps nothing
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
            metrics={name: _plain(value) for name, value in results.items()},
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


def _plain(value: Any) -> Any:
    """Return a metric as JSON holds it: mmseg's are NumPy's, of 32 bits."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


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
    with tempfile.TemporaryDirectory(prefix='ean_mm_mask_') as folder:
        try:
            yield folder
        finally:
            for manager, known in zip(managers, before):
                for name in manager._instance_dict.keys() - known:
                    instance = manager._instance_dict.pop(name)
                    if isinstance(instance, logging.Logger):
                        for handler in instance.handlers:
                            handler.close()
