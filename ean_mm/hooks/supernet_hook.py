"""Train a weight-sharing supernet: another random mask for every iteration."""

import math
from typing import Any, Optional, Sequence

import numpy as np
import torch
from mmengine.dist import broadcast_object_list
from mmengine.hooks import CheckpointHook, Hook
from mmengine.optim import AmpOptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ean_mm.errors import EANError, one_line
from ean_mm.search.space import Bits, SearchSpace

SAMPLINGS = ('independent', 'balanced', 'sandwich')
"""how masks are drawn"""

SANDWICH = 4
"""iterations of a round of the sandwich rule, of which two train random masks"""

MAX_SKIPPED = 20
"""losses in a row that mixed precision may skip for not being finite"""


@HOOKS.register_module()
class SupernetHook(Hook):
    """Sets the model to a fresh random mask before every training iteration.

    The mask is drawn from (seed, iteration), so that all ranks have the same one and a
    resumed run draws what an undisturbed one would have drawn. Every checkpoint says
    in ``meta['ean_mm']['supernet']`` that it holds a supernet.

    A loss that is not finite stops the run, as do such weights when a checkpoint is
    due: they would never recover, and what was saved before them stays the latest.
    Training images that ``HeldOutSplit`` had to replace are counted in the log.

    Args:
        p: Probability of each bit to be 1, for masks that are drawn bit by bit.
        val_mask: Mask under which the supernet is validated; no bit is set by default,
            as in the EAN authors' code.
        seed: Seed of the masks; the runner's by default.
        sampling: How masks are drawn. ``'independent'``: bit by bit, as the EAN authors
            do; almost all masks have half of the bits then, and none or all of them as
            good as never. ``'balanced'``: every number of bits equally often.
            ``'sandwich'``: no bit, every bit and two masks drawn bit by bit take turns,
            after Yu & Huang, 2019, universally slimmable networks
            (https://arxiv.org/abs/1903.05134), section 3.1, where they share a step.
        modules: Names of the modules to draw masks for, as ``['backbone']``; by default
            all that have one and are trained. A momentum teacher has its student's.
    """

    priority = 'HIGH'

    def __init__(
        self,
        p: float = 0.5,
        val_mask: Any = 'none',
        seed: Optional[int] = None,
        sampling: str = 'independent',
        modules: Optional[Sequence[str]] = None,
    ) -> None:
        if not 0 <= p <= 1:
            raise EANError(f'p={p} is no probability; give a number from 0 to 1')
        if sampling not in SAMPLINGS:
            raise EANError(
                f'sampling {sampling!r} is unknown; use {", ".join(SAMPLINGS)}'
            )
        self.p = p
        self.sampling = sampling
        self.val_mask = val_mask
        self.seed = seed
        self.modules = modules
        self._space: Optional[SearchSpace] = None
        self._finite_loss: Optional[float] = None
        self._num_skipped = 0
        self._num_unreadable = 0

    def space(self, runner: Runner) -> SearchSpace:
        """The masks of the runner's model."""
        if self._space is None:
            self._space = SearchSpace(runner.model, self.modules)
        return self._space

    def draw(self, runner: Runner) -> Bits:
        """Draw the bits of all masks for the runner's present iteration."""
        # Both numbers are mixed into one: torch's CPU generator reads 32 bits of seed.
        mixed = np.random.SeedSequence((self._seed, runner.iter)).generate_state(1)[0]
        generator = torch.Generator().manual_seed(int(mixed))
        space = self.space(runner)
        if self.sampling == 'balanced':
            return space.balanced(generator)
        turn = runner.iter % SANDWICH
        if self.sampling == 'sandwich' and turn < 2:
            return (turn,) * space.num_bits
        return space.random(generator, self.p)

    def before_train(self, runner: Runner) -> None:
        # A model without masks, or of others, is refused before the first epoch.
        space = self.space(runner)
        if space.exceptions():
            runner.logger.info(f'Supernet: {space.exceptions()}')
        if runner.val_loop is not None:
            self.before_val_epoch(runner)
        seed = [runner.seed if self.seed is None else self.seed]
        broadcast_object_list(seed)  # the ranks' own may differ (diff_rank_seed)
        self._seed = seed[0]

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        self.space(runner).apply(self.draw(runner))

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
        self._report_unreadable(runner)
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
        masks = ', '.join(str(m.mask) for m in self.space(runner).modules.values())
        raise EANError(
            f'{what} at iteration {runner.iter + 1} (mask {one_line(masks)}; the last '
            f'finite loss was {self._finite_loss}): lower optim_wrapper.optimizer.lr '
            'or set optim_wrapper.clip_grad=dict(max_norm=5), and start again or go on '
            f'from a checkpoint in {runner.work_dir}'
        )

    def _report_unreadable(self, runner: Runner) -> None:
        unreadable = getattr(runner.train_dataloader.dataset, 'unreadable', [])
        if len(unreadable) > self._num_unreadable:
            self._num_unreadable = len(unreadable)
            runner.logger.warning(
                f'{len(unreadable)} training images cannot be read, and others took '
                f'their places: {one_line(", ".join(unreadable))}'
            )

    def before_val_epoch(self, runner: Runner) -> None:
        space = self.space(runner)
        space.set_masks(dict.fromkeys(space.modules, self.val_mask))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta'].setdefault('ean_mm', {})['supernet'] = True
