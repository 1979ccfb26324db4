"""A mask's whole training, measured on reward and test images after every epoch."""

import copy
import math
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from ean_mm.launch import quiet_runner
from ean_mm.search import SearchSpace
from ean_mm.search.evaluation.batches import short_loader
from ean_mm.search.evaluation.mask_training import MaskTraining
from ean_mm.search.evaluation.short_config import short_config
from ean_mm.search.evaluation.training_hooks import TrainingHook
from ean_mm.search.space import Bits

DIVERGED = 0.0
"""accuracy from the epoch on in which a loss was not finite"""

Batch = Tuple[Tensor, Tensor]
"""preprocessed images (N, C, H, W) and their labels (N,)"""


class Images:
    """The images of a bench, read once for all of its trainings.

    Args:
        cfg: Config of the training.
        preprocessor: The model's.
    """

    def __init__(self, cfg: Config, preprocessor: Any) -> None:
        loader = Runner.build_dataloader(copy.deepcopy(cfg.train_dataloader))
        self.train_set = loader.dataset
        self.epoch = len(loader)
        """iterations of an epoch"""
        self.measured = {
            'reward': _preprocessed(cfg.val_dataloader, preprocessor),
            'test': _preprocessed(cfg.test_dataloader, preprocessor),
        }


def _preprocessed(cfg: Any, preprocessor: Any) -> List[Batch]:
    batches = []
    for batch in Runner.build_dataloader(copy.deepcopy(cfg)):
        data = preprocessor(batch, False)
        images = data['inputs'].contiguous(memory_format=torch.channels_last)
        labels = torch.cat([sample.gt_label for sample in data['data_samples']])
        batches.append((images, labels))
    return batches


class EpochHook(Hook):
    """Measures a classifier on sets of images after every epoch.

    A loop of its own, of ten lines, as mmengine's makes an object of each prediction.
    What hooks prepare for a validation (``EMAHook``) they prepare for it.

    Args:
        sets: The batches of each set of images.
    """

    def __init__(self, sets: Dict[str, List[Batch]]) -> None:
        self.sets = sets
        self.accuracies: Dict[str, List[float]] = {name: [] for name in sets}
        """after each epoch, in percent"""
        self.losses: Dict[str, List[float]] = {name: [] for name in sets}

    @torch.no_grad()
    def after_train_epoch(self, runner: Runner) -> None:
        """Measure."""
        runner.call_hook('before_val_epoch')
        runner.model.eval()
        for name, batches in self.sets.items():
            logits = torch.cat([runner.model(x, mode='tensor') for x, _ in batches])
            labels = torch.cat([label for _, label in batches])
            right = (logits.argmax(dim=1) == labels).double().mean()
            self.accuracies[name].append(100 * right.item())
            self.losses[name].append(cross_entropy(logits, labels).item())
        runner.model.train()
        runner.call_hook('after_val_epoch', metrics={})


class BenchTraining(MaskTraining):
    """Trains masks from one seed: the same weights, batches and augmentation for all.

    Args:
        cfg: Config of the training; its validation loader has the reward images.
        seed: The seed.
        images: Those of another seed's, to share.
    """

    def __init__(self, cfg: Config, seed: int, images: Optional[Images] = None) -> None:
        runner: Any = quiet_runner(cfg, cfg.work_dir)
        runner._init_model_weights()
        self.model = runner.model
        """the network as initialised"""
        self.images = images or Images(cfg, self.model.data_preprocessor)
        self.epochs: int = cfg.train_cfg.max_epochs
        iterations = self.images.epoch * self.epochs
        super().__init__(
            runner,
            short_config(cfg, self.images.epoch, iterations)[0],
            iterations,
            copy.deepcopy(self.model.state_dict()),
            seed,
            SearchSpace(self.model),
        )

    def measure(self, bits: Bits) -> Dict[str, Any]:
        """Train a mask; return what was measured after every epoch, as columns."""
        training = self.train(bits)
        test, reward = (self._hook.accuracies[name] for name in ('test', 'reward'))
        length = self.images.epoch
        losses = [
            float(np.mean(training.losses[epoch * length : (epoch + 1) * length]))
            for epoch in range(len(test))
        ]
        return dict(
            accuracy=round(self._of_all_epochs(test, DIVERGED)[-1], 4),
            test_accuracies=self._written(test, DIVERGED, 2),
            reward_accuracies=self._written(reward, DIVERGED, 2),
            reward_losses=self._written(self._hook.losses['reward'], math.nan, 4),
            train_losses=self._written(losses, math.nan, 4),
        )

    def train(self, bits: Bits) -> TrainingHook:
        """Train a mask from the start; return the hook that has its losses."""
        loader = self.loader()
        # Measured by hooks; mmengine asks for a loader all the same.
        _, training = self.run(
            bits, self.iterations, loader, loader, Evaluator([]), judge=False
        )
        return training

    def loader(self) -> DataLoader:
        """Return the training's batches."""
        return short_loader(
            self.cfg.train_dataloader,
            self.images.train_set,
            self.seed,
            self.images.epoch,
        )

    def _build(self, *args: Any) -> Any:
        runner = super()._build(*args)
        self._watch(runner)
        return runner

    def _watch(self, runner: Runner) -> None:
        """Register the hooks that measure a training."""
        self._hook = EpochHook(self.images.measured)
        runner.register_hook(self._hook)

    def _of_all_epochs(self, values: Sequence[float], missing: float) -> List[float]:
        """Return the values with those of the epochs after a diverged one."""
        return [*values, *[missing] * (self.epochs - len(values))]

    def _written(self, values: Sequence[float], missing: float, digits: int) -> str:
        every = self._of_all_epochs(values, missing)
        return ' '.join(f'{value:.{digits}f}' for value in every)
