"""Judge masks by training the network with each of them for a while."""

import json
import math
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import torch
from mmengine.dist import get_world_size
from mmengine.evaluator import Evaluator
from mmengine.registry import TASK_UTILS
from mmengine.runner import Runner

from ean_mm.errors import EANError
from ean_mm.fileio import atomic_save, atomic_write
from ean_mm.search.evaluation.base import MEASURES, Evaluation, Measurement
from ean_mm.search.evaluation.batches import loader_like, short_loader
from ean_mm.search.evaluation.mask_training import MaskTraining
from ean_mm.search.evaluation.reward_set import fresh, hash_of_images, hash_of_weights
from ean_mm.search.evaluation.short_config import short_config
from ean_mm.search.evaluation.stopping import StoppingRule
from ean_mm.search.evaluation.training_hooks import TrainingHook
from ean_mm.search.history import Request
from ean_mm.search.processes import alone, shared
from ean_mm.search.space import Bits, SearchSpace

PROBED = 4
"""iterations that are run to say beforehand what a search costs"""


@TASK_UTILS.register_module()
class TrainedEvaluation(Evaluation):
    """Judges a mask by training the network with it for a budget of iterations.

    All masks start from the same weights and see the same batches in the same order
    and augmentation, so that what differs between them is the mask. The config's
    schedule is scaled to the budget; its optimizer, EMA and other hooks of training do
    what they do in a whole training. Weights to start from are those of the run: as
    initialised, of ``load_from``, or of a supernet that it has trained: as trained,
    where an ``EMAHook`` averages them, for they are trained on (a checkpoint has the
    averages, and ``load_from`` starts from those).

    In a distributed run every process trains other masks, by itself. What was measured
    is kept in a file for each mask, so that a kill loses the masks in training only.

    Args:
        runner: The run that the search is part of.
        space: Its model's masks.
        dataloader: Loader of the reward images.
        evaluator: The metrics. Each mask gets a copy.
        folder: Where to keep what was measured.
        budget: Iterations of a mask's training.
        rungs: Smaller numbers of iterations at which a training may pause: a mask is
            judged there, and goes on from there if it is asked for again.
        measure: What is rewarded: ``'metric'`` of the reward images, ``'loss'``, the
            mean loss on them, or ``'train_loss'``, the mean loss over the second half
            of the training (https://arxiv.org/abs/2006.04492). A loss counts as
            ``-100 * loss``.
        pruner: Config of one of Optuna's pruners, as ``dict(type='MedianPruner')``,
            which says at each rung whether a mask's training goes on.
        seed: Seed of the trainings; the run's by default.
        metric: Name of the metric that the pruner compares.
        on_mask: Called with each mask that was judged in this process.

    Raises:
        ValueError: A budget that does not fit, or an unknown measure.
    """

    def __init__(
        self,
        runner: Runner,
        space: SearchSpace,
        dataloader: Any,
        evaluator: Evaluator,
        folder: Path,
        *,
        budget: int,
        rungs: Sequence[int] = (),
        measure: str = 'metric',
        pruner: Optional[Dict[str, Any]] = None,
        seed: Optional[int] = None,
        metric: str = 'accuracy/top1',
        on_mask: Optional[Callable[[Request, Measurement], None]] = None,
    ) -> None:
        if measure not in MEASURES:
            raise EANError(f'measure={measure!r} is unknown; use {", ".join(MEASURES)}')
        if pruner is not None and not rungs:
            raise EANError(
                'a pruner stops trainings at rungs; give rungs, as rungs=(200, 400)'
            )
        # Every process judges its masks on all images.
        reward_loader = loader_like(
            dataloader, dataloader.dataset, batch_size=dataloader.batch_size or 1
        )
        super().__init__(runner.model, space, reward_loader, evaluator)
        self.folder = folder / 'trainings'
        self.measure = measure
        self.metric = metric
        self.on_mask = on_mask
        self.stopping: Optional[StoppingRule] = None
        if pruner is not None:
            self.stopping = StoppingRule(pruner, self.folder / 'stopping.json')
        start = self._start(runner.seed)
        self.seed = start['seed'] if seed is None else seed

        self._train_set = runner.train_loop.dataloader.dataset
        self._loader_cfg = runner.cfg.train_dataloader
        with alone():
            epoch = len(self._train_loader(length=1).batch_sampler.batch_sampler)
        cfg, self._length = short_config(runner.cfg, epoch, budget)
        by_epoch = 'max_epochs' in cfg.train_cfg
        whole = self._length * (cfg.train_cfg.max_epochs if by_epoch else 1)
        step = self._length if by_epoch else 1
        below = sorted({max(1, round(rung / step)) * step for rung in rungs})
        if below and below[-1] >= whole:
            raise EANError(
                f'a rung of {max(rungs)} iterations is not below the budget of '
                f'{whole}; give smaller ones'
            )
        self.budgets = (*below, whole)
        self.training = MaskTraining(
            runner, cfg, whole, start['state_dict'], self.seed, space
        )

    @property
    def _start_path(self) -> Path:
        return self.folder.parent / 'start.pth'

    def _start(self, seed: Optional[int]) -> Dict[str, Any]:
        """Return weights and seed to start with, those of a search that is resumed."""
        if self._start_path.exists():
            return torch.load(self._start_path, map_location='cpu', weights_only=True)
        state = self.model.state_dict()
        weights = {name: each.detach().cpu().clone() for name, each in state.items()}
        return dict(state_dict=weights, seed=seed)

    def begin(self) -> None:
        """Keep the weights that masks start from, to resume the search with them."""
        start = dict(state_dict=self.training.start, seed=self.seed)
        atomic_save(start, self._start_path)

    def judge(self, requests: Sequence[Request]) -> List[Measurement]:
        """Train masks, and measure them on the reward images.

        Args:
            requests: The masks, each with one of :attr:`budgets`.
        """
        if self.stopping is None:
            return self._at(requests)
        return self.stopping.judge(requests, self.budgets, self._at, self._score)

    def _score(self, measurement: Measurement) -> float:
        value = float(measurement.metrics.get(self.metric, 0.0))
        return measurement.score(value, self.measure)

    def _at(self, requests: Sequence[Request]) -> List[Measurement]:
        """Judge masks at their budgets, the processes sharing the masks."""
        return shared(self._one, requests)

    def _one(self, request: Request) -> Measurement:
        """Judge a mask, unless that was done before."""
        bits, budget = request
        assert budget is not None
        known = self._read(bits)
        if str(budget) in known:
            entry = {k: v for k, v in known[str(budget)].items() if k != 'losses'}
            return Measurement(**{**entry, 'curve': tuple(entry['curve'])})
        checkpoint = self._path(bits, '.pth')
        paused = [int(each) for each in known if int(each) < budget]
        done = max(paused, default=0) if checkpoint.exists() else 0
        goes_on = budget < self.budgets[-1]
        measurement, hook = self._train(
            bits,
            budget,
            done,
            losses=known[str(done)]['losses'] if done else [],
            resume_from=checkpoint if done else None,
            save_to=checkpoint if goes_on else None,
        )
        if not goes_on or measurement.diverged:
            checkpoint.unlink(missing_ok=True)
        losses = dict(losses=hook.losses) if goes_on else {}
        known[str(budget)] = dict(asdict(measurement), **losses)
        with atomic_write(self._path(bits, '.json')) as file:
            file.write(json.dumps(known).encode())
        if self.on_mask is not None:
            self.on_mask(request, measurement)
        return measurement

    def _train(
        self, bits: Bits, budget: int, done: int = 0, **options: Any
    ) -> Tuple[Measurement, TrainingHook]:
        loader = self._train_loader(self._length, done)
        metrics = fresh(self.evaluator)
        return self.training.run(
            bits, budget, loader, self.dataloader, metrics, **options
        )

    def _train_loader(self, length: int, start: int = 0) -> Any:
        return short_loader(self._loader_cfg, self._train_set, self.seed, length, start)

    def _path(self, bits: Bits, suffix: str) -> Path:
        return self.folder / f'{"".join(map(str, bits))}{suffix}'

    def _read(self, bits: Bits) -> Dict[str, Any]:
        """Return what is known of a mask, by budget; a damaged file is done again."""
        try:
            return json.loads(self._path(bits, '.json').read_text())
        except (OSError, ValueError):
            return {}

    def estimate(self, num_masks: int) -> str:
        """Measure an iteration, and say what a search will cost on this machine.

        It is one with attention in every block.

        Args:
            num_masks: Masks that will be asked for.
        """
        with alone():
            mask = (1,) * self.space.num_bits
            _, hook = self._train(mask, PROBED, judge=False)
        gaps = [b - a for a, b in zip(hook.times, hook.times[1:])]
        seconds = statistics.median(gaps[1:] or gaps or [0.0])
        batch = self._loader_cfg.get('batch_size', 1)
        # A forward pass takes a third of a training step.
        each = seconds * (self.budgets[-1] + len(self.dataset) / batch / 3)
        hours, minutes = divmod(math.ceil(each * num_masks / get_world_size() / 60), 60)
        return (
            f'{num_masks} masks x {self.budgets[-1]} iterations: about '
            f'{f"{hours} h " if hours else ""}{minutes} min on this machine'
        )

    def fingerprint(self) -> Dict[str, str]:
        """Hash what measurements depend on: weights, images, and the training."""
        cfg = self.training.cfg
        parts = ('optim_wrapper', 'param_scheduler', 'train_cfg', 'custom_hooks')
        return dict(
            weights=hash_of_weights(self.training.start),
            reward_set=hash_of_images(self.dataset),
            training_set=hash_of_images(self._train_set),
            training=json.dumps(
                dict(
                    {part: cfg.get(part) for part in parts},
                    dataloader=self._loader_cfg,
                    seed=self.seed,
                    budgets=self.budgets,
                ),
                default=str,
            ),
        )
