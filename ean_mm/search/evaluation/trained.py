"""Judge masks by training the network with each of them for a while."""

import copy
import json
import math
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

import torch
from mmengine.dist import all_gather_object, get_dist_info, get_world_size
from mmengine.evaluator import Evaluator
from mmengine.registry import TASK_UTILS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ean_mm.errors import EANError
from ean_mm.fileio import atomic_save, atomic_write
from ean_mm.models.masked import unwrapped
from ean_mm.search.evaluation.base import MEASURES, Measurement
from ean_mm.search.evaluation.batches import short_loader
from ean_mm.search.evaluation.cost import CostTable, measure_cost
from ean_mm.search.evaluation.reward_set import fresh, hash_of_images, hash_of_weights
from ean_mm.search.evaluation.short_config import short_config
from ean_mm.search.evaluation.stopping import StoppingRule
from ean_mm.search.evaluation.training import MaskTraining
from ean_mm.search.history import Request
from ean_mm.search.processes import alone
from ean_mm.search.space import Bits, SearchSpace

PROBED = 4
"""iterations that are run to say beforehand what a search costs"""


@TASK_UTILS.register_module()
class TrainedEvaluation:
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
        self.runner = runner
        self.space = space
        self.dataset: Any = dataloader.dataset
        # Every process judges its masks on all images.
        self.reward_loader = DataLoader(
            self.dataset,
            dataloader.batch_size or 1,
            num_workers=dataloader.num_workers,
            collate_fn=dataloader.collate_fn,
            pin_memory=dataloader.pin_memory,
            worker_init_fn=dataloader.worker_init_fn,
            persistent_workers=dataloader.num_workers > 0,
        )
        self.evaluator = evaluator
        self.folder = folder / 'trainings'
        self.measure = measure
        self.metric = metric
        self.on_mask = on_mask
        self.stopping: Optional[StoppingRule] = None
        if pruner is not None:
            self.stopping = StoppingRule(pruner, self.folder / 'stopping.json')
        start = self._start_weights(folder)
        self.seed = start['seed'] if seed is None else seed

        self._train_set = runner.train_loop.dataloader.dataset
        self._loader_cfg = runner.cfg.train_dataloader
        with alone():
            epoch = len(self._train_loader(length=1).batch_sampler.batch_sampler)
        cfg, self._length = short_config(runner.cfg, epoch, budget)
        by_epoch = 'max_epochs' in cfg.train_cfg
        whole = self._length * (cfg.train_cfg.max_epochs if by_epoch else 1)
        step = self._length if by_epoch else 1
        self.budgets = (*sorted({_rounded(r, step, whole) for r in rungs}), whole)
        self.training = MaskTraining(
            runner, cfg, whole, start['state_dict'], self.seed, space
        )
        if hasattr(self.dataset, 'metainfo'):
            evaluator.dataset_meta = self.dataset.metainfo

    def _start_weights(self, folder: Path) -> Dict[str, Any]:
        """Return the weights to start from, those of the search that is resumed."""
        path = folder / 'start.pth'
        if path.exists():
            return torch.load(path, map_location='cpu', weights_only=True)
        state = {
            name: tensor.detach().cpu().clone()
            for name, tensor in unwrapped(self.runner.model).state_dict().items()
        }
        return dict(state_dict=state, seed=self.runner.seed)

    def begin(self) -> None:
        """Keep the weights that masks start from, to resume the search with them."""
        start = dict(state_dict=self.training.start, seed=self.seed)
        atomic_save(start, self.folder.parent / 'start.pth')

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
        rank, world_size = get_dist_info()
        own: Dict[int, Measurement] = {}
        with alone():
            for number in range(rank, len(requests), world_size):
                own[number] = self._one(requests[number])
        everyones: Dict[int, Measurement] = {}
        for part in all_gather_object(own):
            everyones.update(part)
        return [everyones[number] for number in range(len(requests))]

    def _one(self, request: Request) -> Measurement:
        """Judge a mask, unless that was done before."""
        bits, budget = request
        assert budget is not None
        known = self._read(bits)
        if str(budget) in known:
            return _measurement(known[str(budget)])
        done = max((int(b) for b in known if int(b) < budget), default=0)
        checkpoint = self._path(bits, '.pth')
        if not checkpoint.exists():
            done = 0
        losses = known[str(done)]['losses'] if done else []
        measurement, hook = self.training.run(
            bits,
            budget,
            self._train_loader(self._length, done),
            self.reward_loader,
            fresh(self.evaluator),
            losses,
            checkpoint if done else None,
            checkpoint if budget < self.budgets[-1] else None,
        )
        if budget == self.budgets[-1] or measurement.diverged:
            checkpoint.unlink(missing_ok=True)
        known[str(budget)] = dict(asdict(measurement), losses=hook.losses)
        if budget == self.budgets[-1]:
            del known[str(budget)]['losses']  # nothing goes on from there
        with atomic_write(self._path(bits, '.json')) as file:
            file.write(json.dumps(known).encode())
        if self.on_mask is not None:
            self.on_mask(request, measurement)
        return measurement

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

    def estimate(self, searcher: Any) -> str:
        """Measure an iteration, and say what a search will cost on this machine.

        Args:
            searcher: Who will ask for masks.
        """
        masks = searcher.num_steps * getattr(searcher, 'masks_per_step', 1)
        seconds = self.seconds_per_iteration()
        batch = self._loader_cfg.get('batch_size', 1)
        # A forward pass takes a third of a training step.
        each = seconds * (self.budgets[-1] + len(self.dataset) / batch / 3)
        hours, minutes = divmod(math.ceil(each * masks / get_world_size() / 60), 60)
        return (
            f'{masks} masks x {self.budgets[-1]} iterations: about '
            f'{f"{hours} h " if hours else ""}{minutes} min on this machine'
        )

    def seconds_per_iteration(self) -> float:
        """Measure an iteration with attention in every block, in seconds."""
        bits = (1,) * self.space.num_bits
        with alone():
            _, hook = self.training.run(
                bits,
                PROBED,
                self._train_loader(self._length),
                self.reward_loader,
                fresh(self.evaluator),
                judge=False,
            )
        gaps = [b - a for a, b in zip(hook.times, hook.times[1:])]
        return statistics.median(gaps[1:] or gaps or [0.0])

    def measure_cost(self, kind: str) -> CostTable:
        """Measure what attention costs, on the first batch of the reward set."""
        model: Any = unwrapped(self.runner.model)
        with torch.no_grad():
            batch = copy.deepcopy(next(iter(self.reward_loader)))
            data = model.data_preprocessor(batch, False)
        return measure_cost(kind, model, self.space, data)

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


def _rounded(rung: int, step: int, whole: int) -> int:
    """Return a rung as whole short epochs."""
    rounded = max(1, round(rung / step)) * step
    if rounded >= whole:
        raise EANError(
            f'a rung of {rung} iterations is not below the budget of {whole}; give '
            'smaller ones'
        )
    return rounded


def _measurement(entry: Dict[str, Any]) -> Measurement:
    facts = {key: value for key, value in entry.items() if key != 'losses'}
    return Measurement(**dict(facts, curve=tuple(facts['curve'])))
