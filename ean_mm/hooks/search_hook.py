"""Search the mask once the supernet is trained."""

import copy
import json
import re
import time
from logging import Logger
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from mmengine.dist import broadcast, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, TASK_UTILS
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from ean_mm.datasets.held_out import HeldOutSplit
from ean_mm.datasets.labels import require_labels
from ean_mm.errors import EANError, one_line
from ean_mm.hooks.mask_hook import weight_names
from ean_mm.search.evaluation.calibration import BNCalibration, draw_batches
from ean_mm.search.evaluation.reward import Reward
from ean_mm.search.evaluation.supernet import (
    MaskEvaluator,
    distinct_images,
    require_images,
)
from ean_mm.search.history import Judgement
from ean_mm.search.loop import MaskSearch, Searcher
from ean_mm.search.space import SearchSpace, unwrapped
from ean_mm.search.storage import Record, SearchStorage


@HOOKS.register_module()
class EANSearchHook(Hook):
    """Searches the masks of the model after training.

    With ``max_epochs=0`` and ``load_from`` it searches a supernet that has been trained
    before. In the work dir it writes ``search/history.jsonl`` (a line for each step),
    ``search/state.pth`` (to resume from) and at the end one ``mask_NAME.json`` for each
    masked module, to which the model is then set. Scalars go to the runner's
    visualizer as ``search/*``. Other hooks may listen: ``before_search(runner,
    search)``, ``after_search_step(runner, record)`` and ``after_search(runner, best,
    mask_files)`` are called on all that have them.

    Args:
        searcher: Config of the searcher. An option that is None is left out, as one of
            a base that another searcher does not have.
        reward: Arguments of :class:`ean_mm.search.Reward`.
        dataloader: Config of the loader of the reward set; the validation loader by
            default. It should hold images that the supernet was not trained on, and
            none of the test set.
        evaluator: Config of the metrics; the validation evaluator by default.
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
    """

    def __init__(
        self,
        searcher: Optional[Dict[str, Any]] = None,
        reward: Optional[Dict[str, Any]] = None,
        dataloader: Optional[Dict[str, Any]] = None,
        evaluator: Any = None,
        calibration_batches: int = 0,
        resume: Optional[bool] = None,
        image_memory: Union[int, str] = '2GiB',
        activation_memory: Union[int, str] = '2GiB',
        seed: Optional[int] = None,
        log_interval: int = 10,
    ) -> None:
        self.searcher = searcher or dict(type='RLController')
        try:
            self.reward = Reward(**(reward or {}))
        except TypeError as error:
            raise EANError(f'the reward cannot be built: {one_line(error)}') from error
        self.dataloader = dataloader
        self.evaluator = evaluator
        self.calibration_batches = calibration_batches
        self.resume = resume
        self.image_memory = _num_bytes(image_memory)
        self.activation_memory = _num_bytes(activation_memory)
        self.seed = seed
        self.log_interval = log_interval

    def before_train(self, runner: Runner) -> None:
        # What would stop the search stops the run before hours of training.
        space = SearchSpace(runner.model)
        self._build_searcher(runner, space)
        if runner.val_loop is None and None in (self.dataloader, self.evaluator):
            raise EANError(
                'EANSearchHook has no reward set: give it a dataloader and an '
                'evaluator, or the config a val_dataloader and a val_evaluator'
            )
        self._reward_loader = self._build_loader(runner)
        require_images(self._reward_loader.dataset)
        require_labels(
            unwrapped(runner.model), self._reward_loader.dataset, 'the reward set'
        )
        if runner.max_iters > 0:
            _refuse_overlap(
                runner.train_dataloader.dataset,
                self._reward_loader.dataset,
                runner.logger,
            )
        self._calibration_batches = draw_batches(
            runner.train_dataloader, self.calibration_batches
        )
        if not self._resumes(runner) and is_main_process():
            SearchStorage(self._folder(runner)).set_aside()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        searches_only = (
            isinstance(runner._train_loop, BaseLoop) and not runner.max_iters
        )
        if not searches_only:
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
        if runner.iter == 0 and not runner._has_loaded:
            runner.logger.warning(
                'the search runs on untrained weights: nothing was trained and '
                'load_from names no supernet'
            )
        _synchronize(runner.model)
        space = SearchSpace(runner.model)
        evaluator = self._build_evaluator(runner, space)
        searcher = self._build_searcher(runner, space)
        self._started, self._first_step = time.time(), None
        search = MaskSearch(
            space,
            searcher,
            evaluator,
            self.reward,
            SearchStorage(self._folder(runner)),
            self._settings(runner),
            on_step=lambda record: self._report(runner, searcher.num_steps, record),
        )
        runner.call_hook('before_search', search=search)
        runner.logger.info(
            f'Searching {space.num_bits} bits in {", ".join(space.modules)} on '
            f'{len(evaluator.dataset)} reward images, {searcher.num_steps} steps'
        )
        best = search.run(resume=self._resumes(runner))
        if evaluator.calibration is not None:
            evaluator.calibration.restore()
        if evaluator.apart is not None:
            runner.logger.info(f'Each mask took a pass of its own: {evaluator.apart}')
        runner.logger.info(
            f'Search: {evaluator.work.summary(search.history.num_draws)}'
        )
        files = self._write_masks(runner, search, best)
        runner.call_hook('after_search', best=best, mask_files=files)

    def _folder(self, runner: Runner) -> Path:
        return Path(runner.work_dir) / 'search'

    def _resumes(self, runner: Runner) -> bool:
        return runner._resume if self.resume is None else self.resume

    def _build_loader(self, runner: Runner) -> DataLoader:
        if self.dataloader is None:
            return runner.val_loop.dataloader
        return runner.build_dataloader(self.dataloader, seed=runner.seed)

    def _build_searcher(self, runner: Runner, space: SearchSpace) -> Searcher:
        seed = runner.seed if self.seed is None else self.seed
        given = {k: value for k, value in self.searcher.items() if value is not None}
        try:
            return TASK_UTILS.build({'seed': seed, **given, 'num_bits': space.num_bits})
        except (KeyError, TypeError) as error:
            hint = ''
            if 'unexpected keyword' in str(error):
                hint = '; an option of a base config is left out by setting it to None'
            raise EANError(
                f'the searcher cannot be built: {one_line(error.args[0])}{hint}'
            ) from error

    def _build_evaluator(self, runner: Runner, space: SearchSpace) -> MaskEvaluator:
        if self.evaluator is None:
            metrics = copy.deepcopy(runner.val_loop.evaluator)
        else:
            metrics = runner.build_evaluator(self.evaluator)
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
        )

    def _settings(self, runner: Runner) -> str:
        """Say what rewards depend on beside the weights and the reward images."""
        loader = self.dataloader or runner.cfg.get('val_dataloader')
        return json.dumps(
            dict(
                dataset=loader and loader['dataset'],
                evaluator=self.evaluator or runner.cfg.get('val_evaluator'),
                calibration_batches=self.calibration_batches,
                fp16=getattr(runner.val_loop, 'fp16', False),
            ),
            default=str,
        )

    def _report(self, runner: Runner, num_steps: int, record: Record) -> None:
        """Log a finished step."""
        step, best, entries = record['step'], record['best'], record['masks']
        reward = sum(entry['reward'] for entry in entries) / len(entries)
        runner.visualizer.add_scalars(
            {
                'search/reward': reward,
                'search/metric': sum(entry['metric'] for entry in entries)
                / len(entries),
                'search/best_reward': best['reward'],
                'search/known_share': record['known_share'],
                **{
                    f'search/{key}': record[key]
                    for key in ('loss', 'curiosity', 'baseline')
                    if key in record
                },
            },
            step=step,
        )
        runner.call_hook('after_search_step', record=record)
        if self._first_step is None:
            self._first_step = step
        if (step + 1) % self.log_interval == 0 or step + 1 >= num_steps:
            elapsed = time.time() - self._started
            done = step + 1 - self._first_step
            eta = elapsed / done * max(num_steps - step - 1, 0)
            runner.logger.info(
                f'Search [{min(step + 1, num_steps)}/{num_steps}]  '
                f'reward: {reward:.2f}  best: {best["reward"]:.2f} '
                f'({_show(best["mask"])})  known: {record["known_share"]:.0%}  '
                f'eta: {time.strftime("%H:%M:%S", time.gmtime(eta))}'
            )

    def _write_masks(
        self, runner: Runner, search: MaskSearch, best: Judgement
    ) -> List[Path]:
        """Write one mask file for each masked module."""
        files = []
        facts = search.space.describe()
        costs = {} if self.reward.cost is None else {self.reward.cost: best.cost}
        for name, mask in search.space.split(best.bits).items():
            path = Path(runner.work_dir) / f'mask_{name}.json'
            files.append(path)
            if is_main_process():
                mask.to_file(
                    path,
                    network=facts[name]['network'],
                    attention=facts[name]['attention'],
                    reward=round(best.reward, 4),
                    accuracy=round(best.metric, 4),
                    **costs,
                    found_by=dict(
                        searcher=type(search.searcher).__name__,
                        settings=search.searcher.describe(),
                        metric=self.reward.metric,
                        reward_images=len(self._reward_loader.dataset),
                        masks_evaluated=len(search.history),
                        module=name,
                        supernet_iterations=runner.iter,
                        seed=search.searcher.seed,
                        config=Path(runner.cfg.filename or 'none').name,
                    ),
                )
            runner.logger.info(f'Mask of {name}: {mask}, written to {path}')
        return files


def _refuse_overlap(train_set: Any, reward_set: Any, logger: Logger) -> None:
    """Refuse a reward set that the supernet trains on; warn of duplicates.

    Images that their data set does not tell apart are not compared.
    """
    if not all(hasattr(side, 'get_data_info') for side in (train_set, reward_set)):
        return
    overlap = len(distinct_images(reward_set) & distinct_images(train_set))
    if not overlap:
        return
    if isinstance(reward_set, HeldOutSplit) and all(
        reward_set.is_apart_from(side) for side in _parts(train_set)
    ):
        logger.warning(
            f'{overlap} of the {len(reward_set)} reward images have a duplicate that '
            'is trained on'
        )
        return
    raise EANError(
        f'{overlap} of the {len(reward_set)} reward images are trained on; split '
        'the training set by HeldOutSplit, both sides with the same number and seed'
    )


def _parts(dataset: Any) -> List[Any]:
    """Return what a repeated or concatenated data set is made of."""
    if isinstance(dataset, HeldOutSplit):
        return [dataset]
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if inner == [None]:
        return [dataset]
    return [part for each in inner for part in _parts(each)]


def _num_bytes(memory: Union[int, str]) -> int:
    """Read an amount of memory, as 500000000, '500MB' or '2GiB'."""
    match = re.fullmatch(r'(\d+(?:\.\d+)?) *([kMGT]?)(i?)B?', str(memory))
    if match is None:
        raise EANError(f"{memory!r} is no amount of memory; write it as '2GiB'")
    number, prefix, binary = match.groups()
    return int(
        float(number) * (1024 if binary else 1000) ** ' kMGT'.find(prefix or ' ')
    )


def _show(masks: Dict[str, str]) -> str:
    return ', '.join(masks.values())


def _synchronize(model: Any) -> None:
    """Give all ranks rank 0's weights and buffers.

    Running statistics differ between ranks after distributed training.
    """
    for tensor in model.state_dict().values():
        broadcast(tensor, src=0)
