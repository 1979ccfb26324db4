"""Let searchers look at so many distinct masks, and return what they find."""

from typing import Any, Dict, List, Sequence, Tuple, Union

from mmengine.registry import TASK_UTILS

from ean_mm.search.strategies.controller import PRESETS, RLController
from ean_mm.search.strategies.optuna_searcher import OptunaSearcher
from ean_mm.search.strategies.random_searcher import RandomSearcher
from mask_table import MaskTable
from simulator import SimulatedReward

SEARCHERS: Dict[str, Dict[str, Any]] = {
    'paper': dict(type=RLController.__name__, preset='paper'),
    'default': dict(type=RLController.__name__, preset='default'),
    'random': dict(type=RandomSearcher.__name__),
    'tpe': dict(type=OptunaSearcher.__name__, sampler='tpe'),
    'cmaes': dict(type=OptunaSearcher.__name__, sampler='cmaes'),
    'nsgaii': dict(type=OptunaSearcher.__name__, sampler='nsgaii'),
}
OPTUNA = ('tpe', 'cmaes', 'nsgaii')
OURS = 'default'  # its last steps differ: it searches anew for each number of masks
MAX_DRAWS = 2
"""a searcher that repeats itself stops after this many draws for each distinct mask"""

Problem = Union[SimulatedReward, MaskTable]


def search(
    problem: Problem,
    config: Dict[str, Any],
    num_masks: Sequence[int],
    seed: int,
) -> List[Tuple[int, float]]:
    """Let a searcher search a problem.

    Args:
        problem: The problem.
        config: Config of the searcher.
        num_masks: Numbers of distinct masks to look at, in ascending order.
        seed: Seed of the searcher.

    Returns:
        For each number, how many distinct masks there were (fewer if the searcher
        repeats itself, or the problem has no more) and the regret then.
    """
    searcher = TASK_UTILS.build(dict(config, num_bits=problem.num_bits, seed=seed))
    rewards: Dict[Tuple[int, ...], float] = {}
    outcomes, draws = [], 0
    for number in num_masks:
        number = min(number, 2**problem.num_bits)
        while len(rewards) < number and draws < MAX_DRAWS * number:
            masks = searcher.ask()
            draws += len(masks)
            rewards.update({mask: problem(mask) for mask in masks})
            searcher.tell(
                masks,
                [rewards[mask] for mask in masks],
                [problem.accuracy(mask) for mask in masks],
            )
        in_time = list(rewards.values())[:number]  # the last step may exceed it
        mode = searcher.mode()
        found = max(in_time + [problem(mode)] * (mode not in rewards))
        outcomes.append((len(in_time), problem.best_reward - found))
    return outcomes


def search_as(
    searcher: str,
    problem: Problem,
    num_masks: Sequence[int],
    seed: int,
) -> List[Tuple[int, float]]:
    """Let a searcher search a problem, by the searcher's name; see :func:`search`."""
    config = SEARCHERS[searcher]
    if searcher != OURS:
        return search(problem, config, num_masks, seed)
    masks_per_step = PRESETS[OURS].masks_per_step
    outcomes = []
    for number in num_masks:
        budget = dict(config, num_steps=-(-number // masks_per_step))
        outcomes += search(problem, budget, [number], seed)
    return outcomes
