"""Search by a model of all masks."""

from typing import Any, Dict, List, Optional, Set, Tuple

import numpy as np
import torch
from mmengine.registry import TASK_UTILS
from scipy.stats import norm

from ean_mm.errors import EANError
from ean_mm.search.history import Request
from ean_mm.search.space import Bits
from ean_mm.search.strategies.base import BaseSearcher, Masks, Values
from ean_mm.search.surrogate.design import balanced_design
from ean_mm.search.surrogate.maximize import best_mask
from ean_mm.search.surrogate.model import Function, MaskModel

ACQUISITIONS = ('ei', 'thompson')
MIN_JUDGEMENTS = 4
"""before so many, the mask with the best reward told is recommended"""


@TASK_UTILS.register_module()
class SurrogateSearcher(BaseSearcher):
    """Asks for the masks that a Gaussian process over masks holds for promising.

    For judgements that are few, dear and noisy, as those of masks that are trained. It
    starts with a balanced design, no block and all blocks among it, and then asks in
    each step for the masks of the highest expected improvement, each as if those before
    it had turned out as expected. No mask is asked for twice. It recommends the mask of
    the highest expected reward, which need not have been judged before the search ends,
    and not the luckiest measurement.

    Where there are several budgets, the design is judged at the lowest one and the best
    of its masks above it, which shows how well short trainings foretell long ones. From
    then on a mask that is asked for gets, of the budgets above those that it had, the
    one that surely says most for its cost.

    Args:
        num_bits: Number L of bits in a mask.
        seed: Seed of every draw.
        num_steps: Steps of the search.
        masks_per_step: Masks asked for in a step, before any of them is told.
        acquisition: ``'ei'``, expected improvement, or ``'thompson'``, Thompson
            sampling, which draws functions from the model.
        initial: Masks in the design, rounded up to whole steps; by default two fifths
            of all judgements (four where there are several budgets, for the lowest one
            is cheap), at most two more than twice as many as there are bits.
            The more, the narrower the intervals of the blocks' effects.
        extremes: Whether no block and all blocks are in the design.

    Raises:
        ValueError: Unknown acquisition, or a number that is not above 0.
    """

    recommends = True

    def __init__(
        self,
        num_bits: int,
        *,
        seed: int = 0,
        num_steps: int = 10,
        masks_per_step: int = 4,
        acquisition: str = 'ei',
        initial: Optional[int] = None,
        extremes: bool = True,
    ) -> None:
        super().__init__(
            num_bits, seed=seed, num_steps=num_steps, masks_per_step=masks_per_step
        )
        if acquisition not in ACQUISITIONS:
            raise EANError(
                f'acquisition {acquisition!r} is unknown; use {", ".join(ACQUISITIONS)}'
            )
        if initial is not None and initial < 1:
            raise EANError(f'initial={initial} must be above 0')
        self.acquisition = acquisition
        self._initial = initial
        self.extremes = extremes
        self.budgets: Tuple[Optional[int], ...] = (None,)
        self.judged: Dict[Request, float] = {}
        """the rewards told, by mask and budget"""
        self._asked: List[Request] = []
        self._model: Optional[MaskModel] = None  # of the rewards told so far
        self._mode: Optional[Bits] = None

    def prepare(self, budgets: Tuple[int, ...]) -> None:
        """Learn the budgets that a mask may have."""
        self.budgets = tuple(budgets) or (None,)

    @property
    def initial(self) -> int:
        """Masks in the design."""
        if self._initial is not None:
            return self._initial
        total = self.num_steps * self.masks_per_step
        share = 2 / 5 if len(self.budgets) == 1 else 4 / 5
        return max(min(2 * self.num_bits + 2, int(total * share)), 1)

    def ask(self) -> List[Any]:
        """Return the masks of the next step: of the design, later by the model."""
        rng = np.random.default_rng([self.seed, 1, self.step])
        start = self.step * self.masks_per_step
        if start < self.initial:
            # always the same: its rows are told apart by the step
            design = balanced_design(
                -(-self.initial // self.masks_per_step) * self.masks_per_step,
                self.num_bits,
                np.random.default_rng([self.seed, 0]),
                extremes=self.extremes,
            )
            masks = design[start : start + self.masks_per_step]
            self._asked = [Request(mask, self.budgets[0]) for mask in masks]
        else:
            self._asked = self._propose(rng)
        if self.budgets == (None,):
            return [request.bits for request in self._asked]
        return list(self._asked)

    def _propose(self, rng: np.random.Generator) -> List[Request]:
        model = self.model()
        full = self.budgets[-1]
        known = {request.bits for request in self.judged if request.budget == full}
        requests: List[Request] = []
        for _ in range(self.masks_per_step):
            if self.acquisition == 'thompson':
                function = model.draw(rng)
            else:
                function = self._improvement(model)
            if len(known) < self.masks_per_step:
                # how budgets compare shows in masks that were judged at both
                mask = self._best_judged(function, known)
            else:
                mask = best_mask(
                    function, self.num_bits, rng, known=known, starts=self._best_known()
                )
            if mask is None:  # all were judged
                mask = tuple(rng.integers(2, size=self.num_bits).tolist())
            known.add(mask)
            requests.append(Request(mask, self._budget(mask, model)))
            if self.acquisition == 'ei':
                model = model.extended([mask])
        return requests

    def _best_judged(self, function: Function, known: Set[Bits]) -> Optional[Bits]:
        masks = [each.bits for each in self.judged if each.bits not in known]
        return masks[int(function(masks).argmax())] if masks else None

    def _budget(self, mask: Bits, model: MaskModel) -> Optional[int]:
        """Return the budget, above those that a mask had, that says most for its cost.

        Once a mask is promising again after a short training, it is trained longer.
        """
        levels = range(len(self.budgets))
        had = [i for i in levels if Request(mask, self.budgets[i]) in self.judged]
        above = min(max(had, default=-1) + 1, levels[-1])
        worth = model.information() / [budget or 1 for budget in self.budgets]
        return self.budgets[above + int(worth[above:].argmax())]

    def _improvement(self, model: MaskModel) -> Function:
        """Return the expected improvement over the best expected judged mask."""
        best = model.mean([request.bits for request in self.judged]).max()

        def function(masks: Any) -> Any:
            mean, deviation = model.predict(masks)
            above = (mean - best) / np.maximum(deviation, 1e-9)
            return deviation * (above * norm.cdf(above) + norm.pdf(above))

        return function

    def _best_known(self) -> List[Bits]:
        ordered = sorted(self.judged, key=self.judged.__getitem__, reverse=True)
        return list(dict.fromkeys(request.bits for request in ordered))[:8]

    def tell(
        self, masks: Masks, rewards: Values, metrics: Optional[Values] = None
    ) -> Dict[str, float]:
        """Take in the rewards of the masks that :meth:`ask` returned."""
        asked = self._asked[: len(masks)]
        if [request.bits for request in asked] != [tuple(mask) for mask in masks]:
            asked = [Request(tuple(mask), self.budgets[-1]) for mask in masks]
        self.judged.update(zip(asked, map(float, rewards)))
        self._model = self._mode = None
        return super().tell(masks, rewards, metrics)

    def model(self) -> MaskModel:
        """Return the model of the rewards told so far."""
        if self._model is None:
            known = [self.history.judgements.get(request) for request in self.judged]
            self._model = MaskModel(self.num_bits, self.budgets).fit(
                [request.bits for request in self.judged],
                list(self.judged.values()),
                [request.budget for request in self.judged],
                [each is not None and each.diverged for each in known],
            )
        return self._model

    def mode(self) -> Bits:
        """Return the mask of the highest expected reward at the full budget."""
        if len(self.judged) < MIN_JUDGEMENTS:
            return super().mode()
        if self._mode is None:
            rng = np.random.default_rng([self.seed, 2, len(self.judged)])
            mean, starts = self.model().mean, self._best_known()
            self._mode = best_mask(mean, self.num_bits, rng, starts=starts)
        assert self._mode is not None
        return self._mode

    def describe(self) -> Dict[str, Any]:
        """Return the settings."""
        return dict(
            super().describe(),
            acquisition=self.acquisition,
            initial=self.initial,
            extremes=self.extremes,
        )

    def state_dict(self) -> Dict[str, Any]:
        """Return all that the next :meth:`ask` depends on, as tensors and numbers."""
        return dict(
            super().state_dict(),
            masks=torch.tensor([each.bits for each in self.judged], dtype=torch.uint8),
            budgets=[each.budget for each in self.judged],
            rewards=list(self.judged.values()),
        )

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        super().load_state_dict(state)
        masks = map(tuple, state['masks'].tolist())
        requests = map(Request, masks, state['budgets'])
        self.judged = dict(zip(requests, state['rewards']))
        self._model = self._mode = None
