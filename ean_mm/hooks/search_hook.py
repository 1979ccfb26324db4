"""Search the mask, in a supernet that was trained or by training masks."""

import copy
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Union

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from ean_mm.datasets.labels import require_labels
from ean_mm.errors import EANError, one_line
from ean_mm.hooks.mask_hook import weight_names
from ean_mm.hooks.search_log import SearchLog
from ean_mm.hooks.search_setup import (
    build_searcher,
    find_space,
    judging_settings,
    leave_out_training,
    trains_masks,
)
from ean_mm.models.masked import unwrapped
from ean_mm.search.evaluation.base import Evaluation
from ean_mm.search.evaluation.batch_cache import num_bytes
from ean_mm.search.evaluation.calibration import BNCalibration, draw_batches
from ean_mm.search.evaluation.reward import Reward
from ean_mm.search.evaluation.reward_set import refuse_overlap, require_images
from ean_mm.search.evaluation.supernet import MaskEvaluator
from ean_mm.search.evaluation.trained import TrainedEvaluation
from ean_mm.search.evaluation.validation import Validation, broadcast_state
from ean_mm.search.loop import MaskSearch
from ean_mm.search.mask_files import search_effects, write_masks
from ean_mm.search.space import SearchSpace
from ean_mm.search.storage import SearchStorage


@HOOKS.register_module()
class EANSearchHook(Hook):
    """Searches the masks of the model after training, or by training.

    With a :class:`SupernetHook` beside it the run trains a supernet, in which masks are
    judged. With ``max_epochs=0`` and ``load_from`` it searches a supernet that has been
    trained before. With ``evaluation=dict(type='TrainedEvaluation', budget=...)`` it
    judges every mask by training the network with it: the run's own training is left
    out then, unless it is that of a supernet to start from.

    In the work dir it writes ``search/history.jsonl`` (a line for each step),
    ``search/state.pth`` (to resume from) and at the end one ``mask_NAME.json`` for each
    masked module, to which the model is then set. Scalars go to the runner's
    visualizer as ``search/*``. Other hooks may listen: ``before_search(runner,
    search)``, ``after_mask(runner, request, measurement)`` for a mask that was trained,
    ``after_search_step(runner, record)`` and ``after_search(runner, best,
    mask_files)`` are called on all that have them.

    Args:
        searcher: Config of the searcher. An option that is None is left out, as one of
            a base that another searcher does not have.
        reward: Arguments of :class:`ean_mm.search.Reward`.
        dataloader: Config of the loader of the reward set; the validation loader by
            default. It should hold images that the supernet was not trained on, and
            none of the test set.
        evaluator: Config of the metrics; the validation evaluator by default.
        evaluation: How masks are judged: None for the weights of a supernet, or
            ``dict(type='TrainedEvaluation', budget=800)`` with the options of
            :class:`~ean_mm.search.TrainedEvaluation`. There ``start`` may say where
            trainings start from, to be refused if it is not so: ``'scratch'``,
            ``'load_from'`` or ``'supernet'``.
        calibration_batches: Re-estimate the batch norm statistics on this many
            training batches before a mask is rewarded; 0 to use the supernet's.
        resume: Continue the search in the work dir; None to do so if the runner
            resumes.
        image_memory: Decoded reward images to keep in memory, a number of bytes or
            text as ``'2GiB'``, in each process; the others are kept in a
            memory-mapped file in the work dir.
        activation_memory: Activations to keep for later steps, in the same way, where
            the model runs.
        seed: Seed of the search, unless the searcher has one; the runner's by default.
        log_interval: Steps between two lines of the log.
        modules: Names of the modules whose masks are searched, as ``['backbone']``; by
            default the supernet's, or all that have a mask and are trained.
    """

    def __init__(
        self,
        searcher: Optional[Dict[str, Any]] = None,
        reward: Optional[Dict[str, Any]] = None,
        dataloader: Optional[Dict[str, Any]] = None,
        evaluator: Any = None,
        evaluation: Optional[Dict[str, Any]] = None,
        calibration_batches: int = 0,
        resume: Optional[bool] = None,
        image_memory: Union[int, str] = '2GiB',
        activation_memory: Union[int, str] = '2GiB',
        seed: Optional[int] = None,
        log_interval: int = 10,
        modules: Optional[Sequence[str]] = None,
    ) -> None:
        self.searcher = searcher or dict(type='RLController')
        try:
            self.reward = Reward(**(reward or {}))
        except TypeError as error:
            raise EANError(f'the reward cannot be built: {one_line(error)}') from error
        self.dataloader = dataloader
        self.evaluator = evaluator
        self.evaluation = dict(evaluation or dict(type='SupernetEvaluation'))
        self.trains_masks = trains_masks(self.evaluation.pop('type', None))
        self.start = self.evaluation.pop('start', None)
        self.calibration_batches = calibration_batches
        self.resume = resume
        self.image_memory = num_bytes(image_memory)
        self.activation_memory = num_bytes(activation_memory)
        self.seed = seed
        self.log_interval = log_interval
        self.modules = modules

    def before_train(self, runner: Runner) -> None:
        # What would stop the search stops the run before hours of training.
        space = find_space(runner, self.modules)
        build_searcher(self.searcher, self._seed(runner), space)
        if runner.val_loop is None and None in (self.dataloader, self.evaluator):
            raise EANError(
                'EANSearchHook has no reward set: give it a dataloader and an '
                'evaluator, or the config a val_dataloader and a val_evaluator'
            )
        self._reward_loader: Any = self._build_loader(runner)
        require_images(self._reward_loader.dataset)
        require_labels(
            unwrapped(runner.model), self._reward_loader.dataset, 'the reward set'
        )
        if runner.max_iters > 0:
            refuse_overlap(
                runner.train_dataloader.dataset,
                self._reward_loader.dataset,
                runner.logger,
            )
        self._calibration_batches = draw_batches(
            runner.train_dataloader, self.calibration_batches
        )
        self._validation(runner)
        if self.trains_masks:
            leave_out_training(runner, self.evaluation.get('budget', 0), self.start)
        if not self._resumes(runner) and is_main_process():
            SearchStorage(self._folder(runner)).set_aside()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        searches_only = (
            isinstance(runner._train_loop, BaseLoop) and not runner.max_iters
        )
        if not searches_only or self.trains_masks:
            return
        expected = set(unwrapped(runner.model).state_dict())
        missing = sorted(expected - weight_names(checkpoint))
        if missing:
            raise EANError(
                f'{runner._load_from} is not a supernet of this model: '
                f'{len(missing)} of its weights are missing, {missing[0]} first; train '
                'one with this config (max_epochs above 0)'
            )

    def after_train(self, runner: Runner) -> None:
        untrained = runner.iter == 0 and not runner._has_loaded
        if untrained and not self.trains_masks:
            runner.logger.warning(
                'the search runs on untrained weights: nothing was trained and '
                'load_from names no supernet'
            )
        broadcast_state(runner.model)
        validation = self._validation(runner)
        if validation is None or validation.why_alone is not None:
            self._search(runner, validation)
            return
        with validation.prepared():
            self._search(runner)

    def _validation(self, runner: Runner) -> Optional[Validation]:
        """Return what holds while masks are judged in a supernet."""
        if self.trains_masks:
            return None
        validation = Validation(runner)
        if self.calibration_batches and validation.why_alone is not None:
            raise EANError(
                f'calibration_batches={self.calibration_batches} cannot be kept, for '
                f'{validation.why_alone}; set it to 0'
            )
        return validation

    def _search(self, runner: Runner, validation: Optional[Validation] = None) -> None:
        """Search, where each mask needs the run's validation or not."""
        space = find_space(runner, self.modules)
        searcher = build_searcher(self.searcher, self._seed(runner), space)
        log = SearchLog(
            runner, space, self.reward, searcher.num_steps, self.log_interval
        )
        evaluator = self._build_evaluator(runner, space, log, validation)
        search = MaskSearch(
            space,
            searcher,
            evaluator,
            self.reward,
            SearchStorage(self._folder(runner)),
            judging_settings(runner, self),
            on_step=log.step,
        )
        runner.call_hook('before_search', search=search)
        runner.logger.info(
            f'Searching {space.num_bits} bits in {", ".join(space.modules)} on '
            f'{len(self._reward_loader.dataset)} reward images, '
            f'{searcher.num_steps} steps'
        )
        if space.exceptions():
            runner.logger.info(f'Search: {space.exceptions()}')
        if isinstance(evaluator, TrainedEvaluation):
            runner.logger.info(evaluator.estimate(searcher))
        try:
            best = search.run(resume=self._resumes(runner))
        finally:
            if isinstance(evaluator, MaskEvaluator) and evaluator.calibration:
                evaluator.calibration.restore()
        log.unreported(search.history)
        if isinstance(evaluator, MaskEvaluator):
            log.supernet(evaluator, search.history.num_draws)
        effects = {}
        models = self.trains_masks or getattr(searcher, 'recommends', False)
        if models and is_main_process():
            found = search_effects(search, best)
            runner.logger.info(f'Effects: {found.summary()}')
            effects['effects'] = found.to_dict()
        files = write_masks(
            search,
            best,
            Path(runner.work_dir),
            effects,
            reward_images=len(self._reward_loader.dataset),
            supernet_iterations=runner.iter,
            config=Path(runner.cfg.filename or 'none').name,
        )
        for path, mask in files.items():
            runner.logger.info(f'Mask {mask}, written to {path}')
        runner.call_hook('after_search', best=best, mask_files=list(files))

    def _folder(self, runner: Runner) -> Path:
        return Path(runner.work_dir) / 'search'

    def _seed(self, runner: Runner) -> int:
        return runner.seed if self.seed is None else self.seed

    def _resumes(self, runner: Runner) -> bool:
        return runner._resume if self.resume is None else self.resume

    def _build_loader(self, runner: Runner) -> DataLoader:
        if self.dataloader is None:
            return runner.val_loop.dataloader
        return runner.build_dataloader(self.dataloader, seed=runner.seed)

    def _build_evaluator(
        self,
        runner: Runner,
        space: SearchSpace,
        log: SearchLog,
        validation: Optional[Validation],
    ) -> Evaluation:
        if self.evaluator is None:
            metrics = copy.deepcopy(runner.val_loop.evaluator)
        else:
            metrics = runner.build_evaluator(self.evaluator)
        if self.trains_masks:
            try:
                return TrainedEvaluation(
                    runner,
                    space,
                    self._reward_loader,
                    metrics,
                    self._folder(runner),
                    metric=self.reward.metric,
                    on_mask=log.mask,
                    **self.evaluation,
                )
            except TypeError as error:
                raise EANError(
                    f'the evaluation cannot be built: {one_line(error)}'
                ) from error
        calibration = None
        if self._calibration_batches:
            calibration = BNCalibration(runner.model, self._calibration_batches)
        return MaskEvaluator(
            runner.model,
            space,
            self._reward_loader,
            metrics,
            calibration,
            fp16=getattr(runner.val_loop, 'fp16', False),
            image_memory=self.image_memory,
            activation_memory=self.activation_memory,
            folder=self._folder(runner),
            validation=validation,
        )
