"""Train a weight-sharing supernet: another random mask for every iteration."""

from typing import Any, Optional

import numpy as np
import torch
from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ean_mm.errors import EANError
from ean_mm.search.space import Bits, SearchSpace


@HOOKS.register_module()
class SupernetHook(Hook):
    """Sets the model to a fresh random mask before every training iteration.

    The mask is drawn from (seed, iteration), so that all ranks have the same one and a
    resumed run draws what an undisturbed one would have drawn. Every checkpoint says
    in ``meta['ean_mm']['supernet']`` that it holds a supernet.

    Args:
        p: Probability of each bit to be 1.
        val_mask: Mask under which the supernet is validated; no bit is set by default,
            as in the EAN authors' code.
        seed: Seed of the masks; the runner's by default.
    """

    priority = 'HIGH'

    def __init__(
        self, p: float = 0.5, val_mask: Any = 'none', seed: Optional[int] = None
    ) -> None:
        if not 0 <= p <= 1:
            raise EANError(f'p={p} is no probability; give a number from 0 to 1')
        self.p = p
        self.val_mask = val_mask
        self.seed = seed
        self._space: Optional[SearchSpace] = None

    def space(self, runner: Runner) -> SearchSpace:
        """The masks of the runner's model."""
        if self._space is None:
            self._space = SearchSpace(runner.model)
        return self._space

    def draw(self, runner: Runner) -> Bits:
        """Draw the bits of all masks for the runner's present iteration."""
        # Both numbers are mixed into one: torch's CPU generator reads 32 bits of seed.
        mixed = np.random.SeedSequence((self._seed, runner.iter)).generate_state(1)[0]
        generator = torch.Generator().manual_seed(int(mixed))
        return self.space(runner).random(generator, self.p)

    def before_train(self, runner: Runner) -> None:
        self.space(runner)  # a model without masks is refused before the first epoch
        seed = [runner.seed if self.seed is None else self.seed]
        broadcast_object_list(seed)  # the ranks' own may differ (diff_rank_seed)
        self._seed = seed[0]

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        self.space(runner).apply(self.draw(runner))

    def before_val_epoch(self, runner: Runner) -> None:
        for module in self.space(runner).modules.values():
            module.set_mask(self.val_mask)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta'].setdefault('ean_mm', {})['supernet'] = True
