"""Train a weight-sharing supernet: another random mask for every iteration."""

from dataclasses import dataclass
from typing import Any, Optional, Sequence

import numpy as np
import torch
from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ean_mm.errors import EANError
from ean_mm.hooks.companions import bring
from ean_mm.hooks.finite_check_hook import FiniteCheckHook
from ean_mm.hooks.unreadable_images_hook import UnreadableImagesHook
from ean_mm.search.space import Bits, SearchSpace

SAMPLINGS = ('independent', 'balanced', 'sandwich')
"""how masks are drawn"""

SANDWICH = 4
"""iterations of a round of the sandwich rule, of which two train random masks"""


@HOOKS.register_module()
@dataclass(eq=False)
class SupernetHook(Hook):
    """Sets the model to a fresh random mask before every training iteration.

    The mask is drawn from (seed, iteration), so that all ranks have the same one and a
    resumed run draws what an undisturbed one would have drawn. Every checkpoint says
    in ``meta['ean_mm']['supernet']`` that it holds a supernet.

    With it come :class:`FiniteCheckHook` and :class:`UnreadableImagesHook`.

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

    p: float = 0.5
    val_mask: Any = 'none'
    seed: Optional[int] = None
    sampling: str = 'independent'
    modules: Optional[Sequence[str]] = None

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise EANError(f'p={self.p} is no probability; give a number from 0 to 1')
        if self.sampling not in SAMPLINGS:
            raise EANError(
                f'sampling {self.sampling!r} is unknown; use {", ".join(SAMPLINGS)}'
            )
        self._space: Optional[SearchSpace] = None

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

    def before_run(self, runner: Runner) -> None:
        bring(runner, FiniteCheckHook, UnreadableImagesHook)

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

    def before_val_epoch(self, runner: Runner) -> None:
        space = self.space(runner)
        space.set_masks(dict.fromkeys(space.modules, self.val_mask))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta'].setdefault('ean_mm', {})['supernet'] = True
