"""Build the search that a run's search hook asks for."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from mmengine.evaluator import Evaluator
from mmengine.registry import TASK_UTILS
from mmengine.runner import Runner

from ean_mm.errors import EANError, one_line
from ean_mm.search.evaluation.base import Evaluation
from ean_mm.search.evaluation.calibration import BNCalibration
from ean_mm.search.evaluation.reward import Reward
from ean_mm.search.evaluation.supernet import MaskEvaluator
from ean_mm.search.evaluation.trained import TrainedEvaluation
from ean_mm.search.evaluation.validation import Validation
from ean_mm.search.loop import MaskSearch, Searcher
from ean_mm.search.space import SearchSpace
from ean_mm.search.storage import SearchStorage

EVALUATIONS = ('SupernetEvaluation', 'TrainedEvaluation')
"""how masks are judged: with the weights of a supernet, or by training them"""


@dataclass
class SearchOptions:
    """What :class:`ean_mm.EANSearchHook` is told about its search; see there."""

    searcher: Dict[str, Any]
    reward: Reward
    dataloader: Optional[Dict[str, Any]]
    evaluator: Any
    evaluation: Dict[str, Any]
    calibration_batches: int
    image_memory: int
    activation_memory: int
    seed: Optional[int]
    modules: Optional[Sequence[str]]

    def __post_init__(self) -> None:
        self.evaluation = dict(self.evaluation)
        kind = self.evaluation.pop('type', None)
        if kind not in EVALUATIONS:
            raise EANError(
                f'evaluation {kind!r} is unknown; use {" or ".join(EVALUATIONS)}'
            )
        self.trains_masks = kind == 'TrainedEvaluation'
        self.start = self.evaluation.pop('start', None)


@dataclass
class RewardSet:
    """What masks are judged on, and for what.

    Args:
        loader: The reward images, in a loader of a Runner.
        calibration: Training batches for the norm statistics of each mask.
    """

    loader: Any
    calibration: List[Any]


def build_search(
    runner: Runner,
    options: SearchOptions,
    reward_set: RewardSet,
    validation: Optional[Validation],
    on_step: Callable[[Any], None],
    on_mask: Callable[..., None],
) -> MaskSearch:
    """Build a run's search, with the run's model.

    Args:
        runner: The run, at the end of its training.
        options: What the search hook was told.
        reward_set: What masks are judged on.
        validation: The run's validation, if each mask needs it.
        on_step: Called with the record of each finished step.
        on_mask: Called with each mask that was trained, and its measurement.
    """
    space = find_space(runner, options.modules)
    if options.evaluator is None:
        metrics = copy.deepcopy(runner.val_loop.evaluator)
    else:
        metrics = runner.build_evaluator(options.evaluator)
    common = runner, options, space, reward_set, metrics
    evaluation: Evaluation
    if options.trains_masks:
        evaluation = _trained(*common, on_mask)
    else:
        evaluation = _supernet(*common, validation)
    return MaskSearch(
        space,
        build_searcher(runner, options, space),
        evaluation,
        options.reward,
        SearchStorage(search_folder(runner)),
        _settings(runner, options),
        on_step=on_step,
    )


def search_folder(runner: Runner) -> Path:
    """Return where a run keeps its search."""
    return Path(runner.work_dir) / 'search'


def find_space(runner: Runner, modules: Optional[Sequence[str]]) -> SearchSpace:
    """Return the masks that a run searches.

    Args:
        runner: The run.
        modules: Names of the modules; None for those that its supernet is trained for.

    Raises:
        ValueError: The supernet is trained for other modules.
    """
    hooks: Any = [h for h in runner.hooks if type(h).__name__ == 'SupernetHook']
    trained = [hook.modules for hook in hooks if hook.modules is not None]
    modules = modules or (trained[0] if trained else None)
    space = SearchSpace(runner.model, modules)
    for hook in hooks:
        others = list(SearchSpace(runner.model, hook.modules).modules)
        if others != list(space.modules):
            raise EANError(
                f'EANSearchHook searches {", ".join(space.modules)}, and SupernetHook '
                f'trains {", ".join(others)}; give both the same modules'
            )
    return space


def build_searcher(
    runner: Runner, options: SearchOptions, space: SearchSpace
) -> Searcher:
    """Build a searcher of its config, without the options that are None.

    Raises:
        ValueError: It is not registered, or has not such options.
    """
    seed = runner.seed if options.seed is None else options.seed
    given = {key: value for key, value in options.searcher.items() if value is not None}
    try:
        return TASK_UTILS.build({'seed': seed, **given, 'num_bits': space.num_bits})
    except (KeyError, TypeError) as error:
        hint = ''
        if 'unexpected keyword' in str(error):
            hint = '; an option of a base config is left out by setting it to None'
        raise EANError(
            f'the searcher cannot be built: {one_line(error.args[0])}{hint}'
        ) from error


def _trained(
    runner: Runner,
    options: SearchOptions,
    space: SearchSpace,
    reward_set: RewardSet,
    metrics: Evaluator,
    on_mask: Callable[..., None],
) -> TrainedEvaluation:
    try:
        return TrainedEvaluation(
            runner,
            space,
            reward_set.loader,
            metrics,
            search_folder(runner),
            metric=options.reward.metric,
            on_mask=on_mask,
            **options.evaluation,
        )
    except TypeError as error:
        raise EANError(f'the evaluation cannot be built: {one_line(error)}') from error


def _supernet(
    runner: Runner,
    options: SearchOptions,
    space: SearchSpace,
    reward_set: RewardSet,
    metrics: Evaluator,
    validation: Optional[Validation],
) -> MaskEvaluator:
    calibration = None
    if reward_set.calibration:
        calibration = BNCalibration(runner.model, reward_set.calibration)
    return MaskEvaluator(
        runner.model,
        space,
        reward_set.loader,
        metrics,
        calibration,
        fp16=getattr(runner.val_loop, 'fp16', False),
        image_memory=options.image_memory,
        activation_memory=options.activation_memory,
        folder=search_folder(runner),
        validation=validation,
    )


def _settings(runner: Runner, options: SearchOptions) -> str:
    """Say what rewards depend on beside the weights and the reward images."""
    loader = options.dataloader or runner.cfg.get('val_dataloader')
    return json.dumps(
        dict(
            dataset=loader and loader['dataset'],
            evaluator=options.evaluator or runner.cfg.get('val_evaluator'),
            calibration_batches=options.calibration_batches,
            fp16=getattr(runner.val_loop, 'fp16', False),
            **options.evaluation,
        ),
        default=str,
    )
