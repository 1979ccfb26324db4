"""Supernets by the protocol of a bench, and masks that are fine-tuned in them."""

import copy
import math
import time
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from ean_mm.hooks.supernet_hook import SupernetHook
from ean_mm.search.evaluation.short_config import short_config
from ean_mm.search.space import Bits
from studies.bench.scores import Score, score_masks
from studies.bench.training import DIVERGED, BenchTraining, Images

State = Dict[str, Tensor]

SNAPSHOT = 10
"""iterations from one snapshot to the next, in the second half of a training"""
CALIBRATION_IMAGES = 1000
TUNED_ITERATIONS = 10
TUNING_LR = 0.01


@dataclass(frozen=True)
class Recipe:
    """How a supernet is trained, where it is not as the networks of the bench are.

    Args:
        sampling: How masks are drawn, see :class:`~ean_mm.hooks.SupernetHook`.
        decayed: Whether the learning rate falls as in the trainings of the bench.
        longer: Factor of the epochs.
    """

    sampling: str = 'independent'
    decayed: bool = False
    longer: int = 1

    def applied(self, cfg: Config) -> Config:
        """Return the config of the supernet for the one of the bench's trainings."""
        cfg = copy.deepcopy(cfg)
        cfg.train_cfg.max_epochs *= self.longer
        schedulers = cfg.param_scheduler if self.decayed else []
        if isinstance(schedulers, dict):
            schedulers = [schedulers]
        for scheduler in schedulers:
            scheduler['milestones'] = [n * self.longer for n in scheduler['milestones']]
        cfg.param_scheduler = schedulers
        return cfg


SUPERNETS = {
    'as published': Recipe(),
    'balanced, decayed': Recipe('balanced', decayed=True),
    'balanced, decayed, twice as long': Recipe('balanced', decayed=True, longer=2),
}


class SnapshotHook(Hook):
    """Keeps the weights at the end of a training, and the mean of snapshots of it.

    Args:
        begin: Iterations before the first snapshot.
    """

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self.model: Any = None
        """the trained model; None if the training has not come to its end"""
        self.mean: State = {}
        self._number = 0

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        done = runner.iter + 1
        if done <= self.begin or done % SNAPSHOT:
            return
        self._number += 1
        for name, value in runner.model.state_dict().items():
            if not value.is_floating_point() or name not in self.mean:
                self.mean[name] = value.clone()
            else:
                self.mean[name].lerp_(value, 1 / self._number)

    def after_train(self, runner: Runner) -> None:
        self.model = runner.model


class Trained(NamedTuple):
    """A supernet's weights."""

    last: State
    """at the end of the training"""
    mean: State
    """the mean of snapshots"""
    epoch_seconds: float
    """time of the processor for an epoch"""


class SupernetTraining(BenchTraining):
    """Trains a supernet from a seed: the same weights and batches as the bench's masks.

    Args:
        cfg: Config of the bench's trainings.
        seed: The seed, also of the masks.
        recipe: How.
        images: Those of another training, to share.
    """

    def __init__(
        self, cfg: Config, seed: int, recipe: Recipe, images: Optional[Images] = None
    ) -> None:
        self.recipe = recipe
        super().__init__(recipe.applied(cfg), seed, images)

    def states(self) -> Trained:
        """Train it."""
        started = time.process_time()
        self.train((0,) * self.space.num_bits)
        seconds = (time.process_time() - started) / self.epochs
        last = copy.deepcopy(self._snapshots.model.state_dict())
        return Trained(last, self._snapshots.mean or last, seconds)

    def network(self, state: State) -> Any:
        """Return the network with some weights, to score masks in."""
        network = copy.deepcopy(self.model)
        network.load_state_dict(state)
        return network.to(memory_format=torch.channels_last)

    def calibration_images(self) -> Tensor:
        """Return training images to estimate the statistics of norm layers on."""
        images: List[Tensor] = []
        for batch in self.loader():
            images.append(self.model.data_preprocessor(batch, False)['inputs'])
            if sum(map(len, images)) >= CALIBRATION_IMAGES:
                break
        return torch.cat(images)

    def _watch(self, runner: Runner) -> None:
        self._snapshots = SnapshotHook(begin=self.iterations // 2)
        runner.register_hook(self._snapshots)
        runner.register_hook(SupernetHook(sampling=self.recipe.sampling))


class FineTuning(BenchTraining):
    """Trains masks for some iterations from the weights of a supernet.

    Args:
        cfg: Config of the bench's trainings.
        seed: The seed.
        state: The weights.
        images: Those of another training, to share.
    """

    def __init__(self, cfg: Config, seed: int, state: State, images: Images) -> None:
        cfg = copy.deepcopy(cfg)
        cfg.train_cfg.max_epochs = 1
        cfg.param_scheduler = []
        cfg.optim_wrapper.optimizer.lr = TUNING_LR
        super().__init__(cfg, seed, images)
        self.iterations = min(TUNED_ITERATIONS, self.iterations)
        self.cfg = short_config(cfg, images.epoch, self.iterations)[0]
        self.start = state

    def scores(self, masks: Sequence[Bits], training_images: Tensor) -> List[Score]:
        """Fine-tune masks; return the accuracy and the loss of each.

        Args:
            masks: The masks.
            training_images: Images to estimate the statistics of norm layers on.
        """
        scores = []
        for mask in masks:
            self.train(mask)
            if self._snapshots.model is None:
                scores.append((DIVERGED, math.nan))
                continue
            network = self._snapshots.model
            reward = self.images.measured['reward']
            scores += score_masks(network, [mask], reward, training_images)
        return scores

    def _watch(self, runner: Runner) -> None:
        self._snapshots = SnapshotHook(begin=self.iterations)
        runner.register_hook(self._snapshots)
