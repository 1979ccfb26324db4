"""Build the search that a run's search hook asks for."""

import copy
import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Union

from mmengine.registry import TASK_UTILS
from mmengine.runner import Runner

from ean_mm.errors import EANError, one_line
from ean_mm.search.evaluation.base import Evaluation
from ean_mm.search.evaluation.batch_cache import num_bytes
from ean_mm.search.evaluation.calibration import BNCalibration
from ean_mm.search.evaluation.reward import Reward
from ean_mm.search.evaluation.supernet import MaskEvaluator
from ean_mm.search.evaluation.trained import TrainedEvaluation
from ean_mm.search.evaluation.validation import Validation
from ean_mm.search.loop import MaskSearch
from ean_mm.search.space import SearchSpace
from ean_mm.search.storage import SearchStorage
from ean_mm.search.strategies.base import BaseSearcher

EVALUATIONS = ('SupernetEvaluation', 'TrainedEvaluation')
"""how masks are judged: with the weights of a supernet, or by training them"""

UNUSED_OPTION = '; an option of a base config is left out by setting it to None'


@dataclass(eq=False)
class SearchBuilder:
    """Builds a run's search; the options are :class:`ean_mm.EANSearchHook`'s."""

    searcher: Optional[Dict[str, Any]] = None
    reward: Optional[Dict[str, Any]] = None
    dataloader: Optional[Dict[str, Any]] = None
    evaluator: Any = None
    evaluation: Optional[Dict[str, Any]] = None
    calibration_batches: int = 0
    image_memory: Union[int, str] = '2GiB'
    activation_memory: Union[int, str] = '2GiB'
    seed: Optional[int] = None
    modules: Optional[Sequence[str]] = None

    def __post_init__(self) -> None:
        with one_line_mistakes('the reward cannot be built: '):
            self.reward_function = Reward(**(self.reward or {}))
        options = dict(self.evaluation or dict(type='SupernetEvaluation'))
        kind = options.pop('type', None)
        if kind not in EVALUATIONS:
            raise EANError(
                f'evaluation {kind!r} is unknown; use {" or ".join(EVALUATIONS)}'
            )
        self.trains_masks = kind == 'TrainedEvaluation'
        self.start = options.pop('start', None)
        self.evaluation_options = options
        self.image_bytes = num_bytes(self.image_memory)
        self.activation_bytes = num_bytes(self.activation_memory)

    def space(self, runner: Runner) -> SearchSpace:
        """Return the masks that a run searches; by default those of its supernet.

        Raises:
            ValueError: The supernet is trained for other modules.
        """
        supernet = supernet_hook(runner)
        modules = self.modules or (supernet and supernet.modules)
        space = SearchSpace(runner.model, modules)
        trained = space if supernet is None else supernet.space(runner)
        if list(trained.modules) != list(space.modules):
            raise EANError(
                f'EANSearchHook searches {", ".join(space.modules)}, and SupernetHook '
                f'trains {", ".join(trained.modules)}; give both the same modules'
            )
        return space

    def build_searcher(self, runner: Runner, space: SearchSpace) -> BaseSearcher:
        """Build the searcher of its config, without the options that are None.

        Raises:
            ValueError: It is not registered, or has not such options.
        """
        seed = runner.seed if self.seed is None else self.seed
        searcher = self.searcher or dict(type='RLController')
        given = {k: value for k, value in searcher.items() if value is not None}
        with one_line_mistakes('the searcher cannot be built: ', UNUSED_OPTION):
            return TASK_UTILS.build({'seed': seed, **given, 'num_bits': space.num_bits})

    def build_search(
        self,
        runner: Runner,
        loader: Any,
        calibration: List[Any],
        validation: Optional[Validation],
        on_step: Callable[[Any], None],
        on_mask: Callable[..., None],
    ) -> MaskSearch:
        """Build a run's search, with the run's model.

        Args:
            runner: The run, at the end of its training.
            loader: The reward images, in a loader of a Runner.
            calibration: Training batches for the norm statistics of each mask.
            validation: The run's validation, if each mask needs it.
            on_step: Called with the record of each finished step.
            on_mask: Called with each mask that was trained, and its measurement.
        """
        space, folder = self.space(runner), search_folder(runner)
        if self.evaluator is None:
            metrics = copy.deepcopy(runner.val_loop.evaluator)
        else:
            metrics = runner.build_evaluator(self.evaluator)
        fp16 = getattr(runner.val_loop, 'fp16', False)
        common = space, loader, metrics
        metric = self.reward_function.metric
        options = self.evaluation_options
        evaluation: Evaluation
        if self.trains_masks:
            with one_line_mistakes('the evaluation cannot be built: '):
                evaluation = TrainedEvaluation(
                    runner, *common, folder, metric=metric, on_mask=on_mask, **options
                )
        else:
            evaluation = MaskEvaluator(
                runner.model,
                *common,
                BNCalibration(runner.model, calibration) if calibration else None,
                fp16=fp16,
                image_memory=self.image_bytes,
                activation_memory=self.activation_bytes,
                folder=folder,
                validation=validation,
            )
        cfg = self.dataloader or runner.cfg.get('val_dataloader')
        # what rewards depend on beside the weights and the reward images
        settings = dict(
            dataset=cfg and cfg['dataset'],
            evaluator=self.evaluator or runner.cfg.get('val_evaluator'),
            calibration_batches=self.calibration_batches,
            fp16=fp16,
            **options,
        )
        return MaskSearch(
            space,
            self.build_searcher(runner, space),
            evaluation,
            self.reward_function,
            SearchStorage(folder),
            json.dumps(settings, default=str),
            on_step=on_step,
        )


def supernet_hook(runner: Runner) -> Any:
    """Return the hook by which a run trains a supernet, None if it trains none."""
    hooks = (hook for hook in runner.hooks if type(hook).__name__ == 'SupernetHook')
    return next(hooks, None)


def search_folder(runner: Runner) -> Path:
    """Return where a run keeps its search."""
    return Path(runner.work_dir) / 'search'


@contextmanager
def one_line_mistakes(problem: str, unknown_option: str = '') -> Iterator[None]:
    """Say in one line why a part of the search hook's config cannot be built.

    Args:
        problem: What to say before the reason.
        unknown_option: What to add where an option is unknown.
    """
    try:
        yield
    except (KeyError, TypeError) as error:
        hint = unknown_option if 'unexpected keyword' in str(error) else ''
        raise EANError(f'{problem}{one_line(error.args[0])}{hint}') from error
