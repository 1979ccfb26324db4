"""Search the mask, in a supernet that was trained or by training masks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, Runner

from ean_mm.checkpoints import weight_names
from ean_mm.datasets.labels import require_labels
from ean_mm.errors import EANError
from ean_mm.hooks.search_log import SearchLog
from ean_mm.models.masked import unwrapped
from ean_mm.search.evaluation.calibration import draw_batches
from ean_mm.search.evaluation.reward_set import refuse_overlap, require_images
from ean_mm.search.evaluation.short_config import short_config
from ean_mm.search.evaluation.validation import Validation, broadcast_state
from ean_mm.search.found_masks import search_effects, write_masks
from ean_mm.search.from_runner import SearchBuilder, search_folder, supernet_hook
from ean_mm.search.storage import SearchStorage


@HOOKS.register_module()
@dataclass(eq=False)
class EANSearchHook(SearchBuilder, Hook):
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

    resume: Optional[bool] = None
    log_interval: int = 10

    def before_train(self, runner: Runner) -> None:
        # What would stop the search stops the run before hours of training.
        self.build_searcher(runner, self.space(runner))
        if runner.val_loop is None and None in (self.dataloader, self.evaluator):
            raise EANError(
                'EANSearchHook has no reward set: give it a dataloader and an '
                'evaluator, or the config a val_dataloader and a val_evaluator'
            )
        if self.dataloader is None:
            self._loader = runner.val_loop.dataloader
        else:
            self._loader = runner.build_dataloader(self.dataloader, seed=runner.seed)
        reward_set, train_loader = self._loader.dataset, runner.train_dataloader
        require_images(reward_set)
        require_labels(unwrapped(runner.model), reward_set, 'the reward set')
        if runner.max_iters > 0:
            refuse_overlap(train_loader.dataset, reward_set, runner.logger)
        self._calibration = draw_batches(train_loader, self.calibration_batches)
        self._validation(runner)
        if self.trains_masks:
            budget = self.evaluation_options.get('budget', 0)
            leave_out_training(runner, budget, self.start)
        if not self._resumes(runner) and is_main_process():
            SearchStorage(search_folder(runner)).set_aside()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        trains = not isinstance(runner._train_loop, BaseLoop) or runner.max_iters
        if trains or self.trains_masks:
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
        batches = self.calibration_batches
        if batches and validation.why_alone is not None:
            raise EANError(
                f'calibration_batches={batches} cannot be kept, for '
                f'{validation.why_alone}; set it to 0'
            )
        return validation

    def _search(self, runner: Runner, validation: Optional[Validation] = None) -> None:
        """Search, where each mask needs the run's validation or not."""
        log = SearchLog(runner, self.log_interval)
        search = self.build_search(
            runner, self._loader, self._calibration, validation, log.step, log.mask
        )
        num_images = len(self._loader.dataset)
        log.begin(search, num_images)
        best = search.run(resume=self._resumes(runner))
        log.end()
        facts = {}
        models = self.trains_masks or search.searcher.recommends
        if models and is_main_process():
            effects = search_effects(search, best)
            runner.logger.info(f'Effects: {effects.summary()}')
            facts['effects'] = effects.to_dict()
        files = write_masks(
            search,
            best,
            Path(runner.work_dir),
            facts,
            reward_images=num_images,
            supernet_iterations=runner.iter,
            config=Path(runner.cfg.filename or 'none').name,
        )
        for path, mask in files.items():
            runner.logger.info(f'Mask {mask}, written to {path}')
        runner.call_hook('after_search', best=best, mask_files=list(files))

    def _resumes(self, runner: Runner) -> bool:
        return runner._resume if self.resume is None else self.resume


def leave_out_training(runner: Runner, budget: int, start: Optional[str]) -> None:
    """Train no network but those of masks, and check what would fail later.

    Args:
        runner: The run.
        budget: Iterations of a mask's training.
        start: Where trainings are said to start from; None if that is not said.
    """
    short_config(runner.cfg, len(runner.train_dataloader), budget)
    supernet = supernet_hook(runner)
    found = 'load_from' if runner._has_loaded else 'scratch'
    found = 'supernet' if supernet else found
    if start not in (None, found):
        raise EANError(
            f'start={start!r}, but the run starts from {found!r}: '
            "'supernet' needs a SupernetHook, 'load_from' a checkpoint in load_from"
        )
    if not supernet:
        loop: Any = runner.train_loop
        loop._max_epochs = loop._max_iters = 0
