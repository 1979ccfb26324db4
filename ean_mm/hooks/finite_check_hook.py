"""Stop a training whose loss or weights are not finite."""

import math
from typing import Any, Optional

import torch
from mmengine.hooks import CheckpointHook, Hook
from mmengine.optim import AmpOptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ean_mm.errors import EANError, one_line
from ean_mm.models.masked import masked_modules

MAX_SKIPPED = 20
"""losses in a row that mixed precision may skip for not being finite"""


@HOOKS.register_module()
class FiniteCheckHook(Hook):
    """Stops a run at a loss that is not finite, or at such weights.

    They would never recover. Weights are looked at when a checkpoint is due, so that
    what was saved before them stays the latest.
    """

    priority = 'HIGH'

    def __init__(self) -> None:
        self._finite_loss: Optional[float] = None
        self._num_skipped = 0

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Optional[dict] = None,
    ) -> None:
        loss = (outputs or {}).get('loss')
        if loss is None:
            return
        loss = torch.as_tensor(loss).item()  # mmengine has waited for it, to log it
        if math.isfinite(loss):
            self._finite_loss, self._num_skipped = loss, 0
            if self._saves_now(runner):
                self._require_finite_weights(runner)
            return
        self._num_skipped += 1
        skips = isinstance(runner.optim_wrapper, AmpOptimWrapper)
        if not skips or self._num_skipped > MAX_SKIPPED:
            self._stop(runner, f'the loss is {loss}')

    def after_train_epoch(self, runner: Runner) -> None:
        self._require_finite_weights(runner)

    def _saves_now(self, runner: Runner) -> bool:
        """Whether a checkpoint is due after this iteration."""
        return any(
            not hook.by_epoch and self.every_n_train_iters(runner, hook.interval)
            for hook in runner.hooks
            if isinstance(hook, CheckpointHook)
        )

    def _require_finite_weights(self, runner: Runner) -> None:
        for name, weights in runner.model.state_dict().items():
            if not weights.isfinite().all():
                self._stop(runner, f'the weights {name} are not finite')

    def _stop(self, runner: Runner, what: str) -> None:
        masks = ', '.join(str(m.mask) for m in masked_modules(runner.model).values())
        raise EANError(
            f'{what} at iteration {runner.iter + 1} (mask {one_line(masks)}; the last '
            f'finite loss was {self._finite_loss}): lower optim_wrapper.optimizer.lr '
            'or set optim_wrapper.clip_grad=dict(max_norm=5), and start again or go on '
            f'from a checkpoint in {runner.work_dir}'
        )
