"""What a run's hooks and loop do for a validation, done while masks are judged."""

import copy
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional

from mmengine.dist import broadcast
from mmengine.evaluator import Evaluator
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner, ValLoop

from ean_mm.errors import EANError
from ean_mm.search.evaluation.metric_log import to_log_file

BEFORE = (
    'before_val',
    'before_val_epoch',
    'before_val_iter',
    '_before_epoch',
    '_before_iter',
)
"""where a hook prepares a validation"""

LEFT_OUT = (
    'SupernetHook',  # sets the mask that a supernet is validated under
    'RuntimeInfoHook',
    'IterTimerHook',
    'ClassNumCheckHook',
    'NumClassCheckHook',
)
"""hooks that prepare nothing which a prediction depends on"""

FOR_ALL_MASKS = (
    'mmengine.hooks.',
    'mmpretrain.engine.hooks.ema_hook',
    'mmdet.engine.hooks.sync_norm_hook',
)
"""modules whose hooks prepare the same whatever the mask, as averaged weights"""


class Validation:
    """The validation of a run, without what only looks at its result.

    Hooks take part that do something before a validation, an epoch or a batch of it:
    they swap in averaged weights, compute a retriever's prototypes, switch something;
    and they undo it after. Others, which save the best checkpoint, stop early or log,
    do not. A mask's metrics are then those of ``runner.val_loop.run()`` with that mask.

    Args:
        runner: The run.

    Raises:
        ValueError: Its checkpoints hold other weights than it validates.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.hooks = [
            hook
            for hook in runner.hooks
            if _preparations(hook) and type(hook).__name__ not in LEFT_OUT
        ]
        for hook in self.hooks:
            if not getattr(hook, 'evaluate_on_ema', True):
                raise EANError(
                    f'{type(hook).__name__}(evaluate_on_ema=False) validates the '
                    'weights as trained and saves their average, so that a mask would '
                    'be found for other weights than are saved; set '
                    'evaluate_on_ema=True, or remove the hook'
                )

    @property
    def why_alone(self) -> Optional[str]:
        """Why each mask needs the run's own loop; None if one preparation does."""
        loop: Any = self.runner.val_loop
        plain = loop is None or (
            type(loop).run is ValLoop.run and type(loop).run_iter is ValLoop.run_iter
        )
        if not plain:
            return f'{type(loop).__name__} validates in its own way'
        for hook in self.hooks:
            places = _preparations(hook)
            if 'before_val_iter' in places or '_before_iter' in places:
                return f'{type(hook).__name__} prepares every batch of a validation'
            if not all(name.startswith(FOR_ALL_MASKS) for name in places.values()):
                return f'{type(hook).__name__} prepares every validation'
        return None

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Let the hooks prepare a validation, and undo it at the end."""
        with _Stage(self) as stage:
            stage.call_hook('before_val')
            stage.call_hook('before_val_epoch')
            yield

    def run(self, dataloader: Any, evaluator: Evaluator) -> Dict[str, float]:
        """Run the loop of the run with the model as it is.

        Args:
            dataloader: The batches, with their ``dataset``.
            evaluator: The metrics; of their own, for they collect results.
        """
        if self.runner.val_loop is None:
            loop: Any = ValLoop(self.runner, dataloader, evaluator)
        else:
            loop = copy.copy(self.runner.val_loop)
            loop.dataloader, loop.evaluator = dataloader, evaluator
        with _Stage(self) as stage, to_log_file():
            loop._runner = stage
            metrics = loop.run()
        # mmdet's TeacherStudentValLoop returns nothing, and tells hooks
        return stage.metrics if metrics is None else metrics


class _Stage:
    """Stands in for a runner, and calls the hooks of a :class:`Validation` only.

    They undo at the end of its context what they have done before.
    """

    def __init__(self, validation: Validation) -> None:
        self._runner = validation.runner
        self._hooks = validation.hooks
        self._begun: Dict[str, List[Hook]] = dict(before_val=[], before_val_epoch=[])
        self.metrics: Dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def __enter__(self) -> '_Stage':
        return self

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call the hooks, in the order of their priorities."""
        if fn_name == 'after_val_epoch':
            self.metrics = kwargs.get('metrics') or {}
        if fn_name in ('after_val_epoch', 'after_val'):
            return  # in __exit__, which is called after an error too
        for hook in self._hooks:
            getattr(hook, fn_name)(self._runner, **kwargs)
            if fn_name in self._begun:
                self._begun[fn_name].append(hook)
        if fn_name == 'before_val_epoch' and self._hooks:
            broadcast_state(self._runner.model)  # averaged statistics differ too

    def __exit__(self, *error: Any) -> None:
        for hook in self._begun['before_val_epoch']:
            if isinstance(hook, EMAHook):
                # mmpretrain's would validate a second time, the trained weights
                hook = copy.copy(hook)
                hook.evaluate_on_origin = False
            hook.after_val_epoch(self._runner, metrics=self.metrics)
        for hook in self._begun['before_val']:
            hook.after_val(self._runner)


def broadcast_state(model: Any) -> None:
    """Give all ranks rank 0's weights and buffers.

    Running statistics differ between ranks after distributed training.
    """
    for tensor in model.state_dict().values():
        broadcast(tensor, src=0)


def _preparations(hook: Hook) -> Dict[str, str]:
    """Return what a hook does before validation, and the module that says it."""
    places = {}
    for name in BEFORE:
        kind = next(kind for kind in type(hook).__mro__ if name in vars(kind))
        if kind is not Hook:
            places[name] = kind.__module__
    return places
