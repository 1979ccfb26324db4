"""Searches by training, replayed on a bench: what they recommend for so many epochs."""

from functools import partial
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from ean_mm.search.history import Request
from ean_mm.search.space import Bits
from ean_mm.search.strategies.base import BaseSearcher, bits_of
from ean_mm.search.strategies.controller import RLController
from ean_mm.search.strategies.optuna_searcher import OptunaSearcher
from ean_mm.search.strategies.surrogate_searcher import SurrogateSearcher
from ean_mm.search.surrogate.model import Function, MaskModel
from trained_bench import TrainedBench

MASKS_PER_STEP = 4
MOST_STEPS = 12
"""of a surrogate search: with more masks its steps become larger, as fits take time"""
SHORT = 1
"""epochs of a short training"""
MOST_IDLE = 60
"""a searcher stops after so many masks in a row without a new training"""
KEPT = 4
"""of so many masks that were trained for an epoch, one goes on to the end"""


class Account:
    """Pays for trainings with epochs; a training that goes on costs what it adds.

    Args:
        bench: The bench.
        epochs: Epochs that there are.
    """

    def __init__(self, bench: TrainedBench, epochs: int) -> None:
        self.bench = bench
        self.left = epochs
        self.done: Dict[Bits, int] = {}
        """epochs of each mask"""

    def afford(self, bits: Bits, epochs: int) -> bool:
        """Whether a training can be paid for."""
        return epochs - self.done.get(bits, 0) <= self.left

    def train(self, bits: Bits, epochs: int) -> float:
        """Train a mask, or go on with it; return what was measured."""
        added = max(epochs - self.done.get(bits, 0), 0)
        self.left -= added
        self.done[bits] = self.done.get(bits, 0) + added
        return self.bench(bits, epochs / self.bench.epochs)


class OfferedSurrogate(SurrogateSearcher):
    """A surrogate search that asks only for masks which a bench has trainings of."""

    def __init__(self, bench: TrainedBench, **settings: Any) -> None:
        super().__init__(bench.num_bits, **settings)
        self.bench = bench

    def ask(self) -> List[Any]:
        """Return the masks of the next step that there are."""
        asked = [each for each in super().ask() if bits_of(each) in self.bench]
        self._asked = [each for each in self._asked if each.bits in self.bench]
        return asked

    def _improvement(self, model: MaskModel) -> Function:
        improvement = super()._improvement(model)

        def function(masks: Any) -> Any:
            offered = [tuple(mask) in self.bench for mask in np.asarray(masks).tolist()]
            return np.where(offered, improvement(masks), -np.inf)

        return function


def spend(searcher: BaseSearcher, account: Account) -> Dict[Request, float]:
    """Let a searcher train masks until the epochs are spent; return what it was told.

    A mask without a training is told nothing of and costs nothing. One that is asked
    for again costs nothing either, and ends the search at last.
    """
    bench = account.bench
    told: Dict[Request, float] = {}
    idle, complete = 0, True
    while complete and account.left > 0 and idle < MOST_IDLE:
        asked, known = searcher.ask(), len(told)
        paid: List[Request] = []
        for each in asked:
            budget = each.budget if isinstance(each, Request) else None
            request = Request(bits_of(each), budget or bench.epochs)
            if request.bits not in bench:
                continue
            if request not in told:
                assert request.budget is not None
                if not account.afford(request.bits, request.budget):
                    complete = False
                    break
                told[request] = account.train(request.bits, request.budget)
            paid.append(request)
        if paid:
            rewards = [told[request] for request in paid]
            searcher.tell([request.bits for request in paid], rewards, rewards)
        elif isinstance(searcher, SurrogateSearcher):
            searcher.step += 1  # nothing of this step of the design is offered
        idle = idle + searcher.masks_per_step if len(told) == known else 0
    return told


def measured_best(told: Dict[Request, float], bench: TrainedBench, seed: int) -> Bits:
    """Return the mask with the best measurement, a random one if there is none."""
    if not told:
        return shuffled(bench, seed)[0]
    return max(told, key=told.__getitem__).bits


def at_random(bench: TrainedBench, epochs: int, seed: int, each: int) -> Bits:
    """Train random masks for some epochs each, and take the best measured."""
    masks = shuffled(bench, seed)[: epochs // each]
    return max(masks, key=lambda mask: bench(mask, each / bench.epochs))


def by_halving(bench: TrainedBench, epochs: int, seed: int) -> Bits:
    """Train random masks for an epoch and the best of them to the end."""
    account = Account(bench, epochs)
    further = bench.epochs - SHORT
    masks = shuffled(bench, seed)[: int(epochs / (SHORT + further / KEPT))]
    early = {mask: account.train(mask, SHORT) for mask in masks}
    late: Dict[Bits, float] = {}
    for mask in sorted(early, key=early.__getitem__, reverse=True):
        if not account.afford(mask, bench.epochs):
            break
        late[mask] = account.train(mask, bench.epochs)
    return max(late or early, key=(late or early).__getitem__)


def shuffled(bench: TrainedBench, seed: int) -> List[Bits]:
    """Return the masks that there are in a random order."""
    masks = bench.offered
    order = np.random.default_rng([seed, 12]).permutation(len(masks))
    return [masks[place] for place in order]


def by_model(
    bench: TrainedBench, epochs: int, seed: int, budgets: Tuple[int, ...]
) -> Bits:
    """Let the surrogate search, with one budget or several."""
    short = budgets if len(budgets) == 1 else ()
    # where there are several, about as many full trainings could be paid for
    number = epochs // (short[0] if short else bench.epochs)
    per_step = max(MASKS_PER_STEP, -(-number // MOST_STEPS))
    searcher = OfferedSurrogate(
        bench,
        seed=seed,
        num_steps=max(number // per_step, 1),
        masks_per_step=per_step,
    )
    searcher.prepare(budgets)
    spend(searcher, Account(bench, epochs))
    return searcher.mode()


def by_tpe(bench: TrainedBench, epochs: int, seed: int) -> Bits:
    searcher = OptunaSearcher(bench.num_bits, seed=seed, masks_per_step=1)
    return measured_best(spend(searcher, Account(bench, epochs)), bench, seed)


def by_controller(bench: TrainedBench, epochs: int, seed: int) -> Bits:
    """Let the controller search, and pay for a training of its most likely mask."""
    number = epochs // bench.epochs - 1
    searcher = RLController(
        bench.num_bits,
        seed=seed,
        num_steps=max(number // MASKS_PER_STEP, 1),
        masks_per_step=MASKS_PER_STEP,
    )
    account = Account(bench, number * bench.epochs)
    told = spend(searcher, account)
    account.left += bench.epochs
    mode = Request(searcher.mode(), bench.epochs)
    if mode.bits in bench:
        told[mode] = account.train(mode.bits, bench.epochs)
    return measured_best(told, bench, seed)


def searches(full: int) -> Dict[str, Callable[[TrainedBench, int, int], Bits]]:
    """Return what recommends a mask for a bench, a number of epochs and a seed.

    Args:
        full: Epochs of a whole training.
    """
    half = full // 2
    return {
        f'random, {full} epochs each': partial(at_random, each=full),
        f'random, {half} epochs each': partial(at_random, each=half),
        f'random, {SHORT} epoch each': partial(at_random, each=SHORT),
        f'random, {SHORT} epoch, the best {full}': by_halving,
        'TPE': by_tpe,
        'controller': by_controller,
        'surrogate': partial(by_model, budgets=()),
        f'surrogate, {SHORT} epoch each': partial(by_model, budgets=(SHORT,)),
        f'surrogate, {SHORT} and {full} epochs': partial(
            by_model, budgets=(SHORT, full)
        ),
    }
