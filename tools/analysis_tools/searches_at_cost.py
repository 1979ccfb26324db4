"""Let searchers train masks for so many epochs, and return what they recommend."""

from functools import cache, partial
from typing import Callable, Dict, List, NamedTuple, Tuple

from ean_mm.search.history import Request
from ean_mm.search.space import Bits
from ean_mm.search.strategies.base import BaseSearcher, bits_of
from ean_mm.search.strategies.controller import RLController
from ean_mm.search.strategies.optuna_searcher import OptunaSearcher
from ean_mm.search.strategies.random_searcher import RandomSearcher
from ean_mm.search.strategies.surrogate_searcher import SurrogateSearcher
from simulator import SimulatedTraining

EPOCHS = 20
"""of a full training"""
SHORT = 4
MASKS_PER_STEP = 4
SUPERNET_EPOCHS = EPOCHS + 2
SUPERNET_FIDELITY = 0.31
"""correlation that is a Kendall's tau of 0.2 for normal values: sin(0.2 pi / 2)"""
SUPERNET_MASKS = 900


class Trained(NamedTuple):
    """A mask, and the epochs that it is trained for."""

    bits: Bits
    epochs: int


def spend(
    searcher: BaseSearcher, training: SimulatedTraining, epochs: int
) -> Dict[Trained, float]:
    """Let a searcher train masks until the epochs are spent; return what it was told.

    A mask that is asked for again costs nothing, and ends the search at last.
    """
    told: Dict[Trained, float] = {}
    spent, draws, complete = 0, 0, True
    while complete and spent < epochs and draws < 3 * epochs / SHORT:
        asked = searcher.ask()
        requests = []
        for each in asked:
            budget = each.budget if isinstance(each, Request) else None
            requests.append(Trained(bits_of(each), budget or EPOCHS))
        paid = []
        for each in requests:
            if each not in told:
                if spent + each.epochs > epochs:
                    break
                told[each] = training(each.bits, each.epochs / EPOCHS)
                spent += each.epochs
            paid.append(each)
        rewards = [told[each] for each in paid]
        if not paid:
            break
        searcher.tell([each.bits for each in paid], rewards, rewards)
        complete = len(paid) == len(requests)
        draws += len(requests)
    return told


def measured_best(told: Dict[Trained, float]) -> Bits:
    """Return the mask with the best measurement."""
    return max(told, key=told.__getitem__).bits


def by_model(
    training: SimulatedTraining, trainings: int, seed: int, budgets: Tuple[int, ...]
) -> Bits:
    searcher = SurrogateSearcher(
        training.num_bits,
        seed=seed,
        num_steps=max(trainings // MASKS_PER_STEP, 1),
        masks_per_step=MASKS_PER_STEP,
    )
    searcher.prepare(budgets)
    spend(searcher, training, trainings * EPOCHS)
    return searcher.mode()


def at_random(training: SimulatedTraining, trainings: int, seed: int) -> Bits:
    searcher = RandomSearcher(training.num_bits, seed=seed, masks_per_step=1)
    return measured_best(spend(searcher, training, trainings * EPOCHS))


def by_tpe(training: SimulatedTraining, trainings: int, seed: int) -> Bits:
    searcher = OptunaSearcher(
        training.num_bits, seed=seed, masks_per_step=MASKS_PER_STEP
    )
    return measured_best(spend(searcher, training, trainings * EPOCHS))


def by_controller(training: SimulatedTraining, trainings: int, seed: int) -> Bits:
    steps = max(trainings // MASKS_PER_STEP, 1)
    searcher = RLController(
        training.num_bits, seed=seed, num_steps=steps, masks_per_step=MASKS_PER_STEP
    )
    told = spend(searcher, training, trainings * EPOCHS)
    mode = Trained(searcher.mode(), EPOCHS)  # it competes, as at a search's end
    told.setdefault(mode, training(mode.bits))
    return measured_best(told)


@cache
def _by_supernet(training: SimulatedTraining, seed: int) -> List[Bits]:
    """Return masks in the order of a supernet's rewards, the best first."""
    supernet = SimulatedTraining(
        training.truth, seed=seed + 7, noise=0.0, fidelity=SUPERNET_FIDELITY
    )
    searcher = RLController(
        training.num_bits, seed=seed, num_steps=SUPERNET_MASKS // 6, masks_per_step=6
    )
    for _ in range(searcher.num_steps):
        masks = searcher.ask()
        # a fifth of a training has the fidelity that is asked for
        rewards = [supernet(mask, 0.2) for mask in masks]
        searcher.tell(masks, rewards, rewards)
    told = searcher.history.told
    return sorted(told, key=told.__getitem__, reverse=True)


def by_supernet(training: SimulatedTraining, trainings: int, seed: int) -> Bits:
    return _by_supernet(training, seed)[0]


def by_supernet_and_training(
    training: SimulatedTraining, trainings: int, seed: int
) -> Bits:
    left = trainings - -(-SUPERNET_EPOCHS // EPOCHS)
    return max(_by_supernet(training, seed)[: max(left, 1)], key=training)


SEARCHERS: Dict[str, Callable[[SimulatedTraining, int, int], Bits]] = {
    'surrogate': partial(by_model, budgets=()),
    'surrogate, 4 and 20 epochs': partial(by_model, budgets=(SHORT, EPOCHS)),
    'random': at_random,
    'tpe': by_tpe,
    'controller': by_controller,
    'supernet (22 epochs)': by_supernet,
    'supernet, its best trained': by_supernet_and_training,
}
"""what recommends a mask for a problem, a number of trainings and a seed"""
