"""What the search hook needs before it searches."""

import json
from typing import Any, Dict, Optional, Sequence

from mmengine.registry import TASK_UTILS
from mmengine.runner import Runner

from ean_mm.errors import EANError, one_line
from ean_mm.search.evaluation.short_config import short_config
from ean_mm.search.loop import Searcher
from ean_mm.search.space import SearchSpace


def trains_masks(kind: Any) -> bool:
    """Whether a way to judge masks trains them.

    Args:
        kind: ``'SupernetEvaluation'`` or ``'TrainedEvaluation'``.

    Raises:
        ValueError: It is another one.
    """
    known = ('SupernetEvaluation', 'TrainedEvaluation')
    if kind not in known:
        raise EANError(f'evaluation {kind!r} is unknown; use {" or ".join(known)}')
    return kind == 'TrainedEvaluation'


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


def build_searcher(cfg: Dict[str, Any], seed: int, space: SearchSpace) -> Searcher:
    """Build a searcher of its config, without the options that are None.

    Raises:
        ValueError: It is not registered, or has not such options.
    """
    given = {key: value for key, value in cfg.items() if value is not None}
    try:
        return TASK_UTILS.build({'seed': seed, **given, 'num_bits': space.num_bits})
    except (KeyError, TypeError) as error:
        hint = ''
        if 'unexpected keyword' in str(error):
            hint = '; an option of a base config is left out by setting it to None'
        raise EANError(
            f'the searcher cannot be built: {one_line(error.args[0])}{hint}'
        ) from error


def leave_out_training(runner: Runner, budget: int, start: Optional[str]) -> None:
    """Train no network but those of masks, and check what would fail later.

    Args:
        runner: The run.
        budget: Iterations of a mask's training.
        start: Where trainings are said to start from; None if that is not said.
    """
    short_config(runner.cfg, len(runner.train_dataloader), budget)
    supernet = any(type(hook).__name__ == 'SupernetHook' for hook in runner.hooks)
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


def judging_settings(runner: Runner, hook: Any) -> str:
    """Say what rewards depend on beside the weights and the reward images.

    Args:
        runner: The run.
        hook: Its search hook, which may have a loader and an evaluator of its own.
    """
    loader = hook.dataloader or runner.cfg.get('val_dataloader')
    return json.dumps(
        dict(
            dataset=loader and loader['dataset'],
            evaluator=hook.evaluator or runner.cfg.get('val_evaluator'),
            calibration_batches=hook.calibration_batches,
            fp16=getattr(runner.val_loop, 'fp16', False),
            **hook.evaluation,
        ),
        default=str,
    )
