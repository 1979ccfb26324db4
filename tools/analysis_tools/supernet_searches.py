"""Searches in trained supernets, replayed: what they recommend, at which cost."""

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from ean_mm.search.space import Bits
from ean_mm.search.strategies.controller import RLController
from studies.bench.scores import counted_masks
from studies.bench.supernet_table import AVERAGED, BATCH, OWN, TUNED, read_supernets
from studies.results import Row
from trained_bench import ACCURACY, LOSS, BenchRows, TrainedBench

Values = Dict[Bits, float]
PUBLISHED, IMPROVED = 'as published', 'balanced, decayed'


@dataclass(eq=False)
class Scored:
    """The scores of all masks in a supernet, made in one way.

    Args:
        row: The row.
    """

    row: Row

    @cached_property
    def values(self) -> Dict[str, Values]:
        """By measure, that of each mask; losses are negative."""
        found = {}
        for measure, column, sign in (
            (ACCURACY, 'accuracies', 1),
            (LOSS, 'losses', -1),
        ):
            numbers = sign * np.array(self.row[column].split(), float)
            numbers = np.nan_to_num(numbers, nan=-np.inf)  # of a mask that diverged
            found[measure] = dict(zip(counted_masks(), numbers.tolist()))
        return found

    @property
    def name(self) -> Tuple[str, str]:
        """Its supernet and way of scoring."""
        return self.row['supernet'], self.row['scores']

    def cost(self, masks: int) -> float:
        """Return the epochs that the supernet and the scores of masks take."""
        return self.row['train_epochs'] + masks * self.row['mask_epochs']

    def ranking(self, measure: str, seed: int) -> List[Bits]:
        """Return the masks, the best one first; chance orders equal ones."""
        values = self.values[measure]
        masks = list(values)
        chance = np.random.default_rng([seed, 13]).permutation(len(masks))
        return sorted(
            (masks[place] for place in chance), key=values.__getitem__, reverse=True
        )


class Supernets:
    """The supernets of a bench.

    Args:
        path: File of their rows, which need not exist.
        bench: The bench.

    Raises:
        ValueError: They are of another protocol.
    """

    def __init__(self, path: Path, bench: BenchRows) -> None:
        self.path = path
        rows = read_supernets(path, bench.protocol).rows
        self.rows = [row for row in rows if row['attention'] == bench.attention]
        self.by_name: Dict[Tuple[str, str], Dict[int, Scored]] = {}
        """by supernet and way of scoring, those of each seed"""
        for row in self.rows:
            scored = Scored(row)
            self.by_name.setdefault(scored.name, {})[row['seed']] = scored

    def __getitem__(self, name: Tuple[str, str]) -> Dict[int, Scored]:
        return self.by_name.get(name, {})


@cache
def by_controller(scored: Scored, measure: str, seed: int) -> Tuple[Bits, float]:
    """Let the published controller search in a supernet.

    Returns:
        The best mask that it was told of, the policy's mode among them, and what the
        supernet and these scores cost, in epochs.
    """
    values = scored.values[measure]
    searcher = RLController(len(next(iter(values))), seed=seed, preset='paper')
    for _ in range(searcher.num_steps):
        masks = searcher.ask()
        rewards = [values[mask] for mask in masks]
        searcher.tell(masks, rewards, rewards)
    told = {mask: values[mask] for mask in (searcher.mode(), *searcher.history.told)}
    return max(told, key=told.__getitem__), scored.cost(len(told))


Method = Callable[[Supernets, int, BenchRows, int, int], Optional[Bits]]
"""recommends a mask for supernets, their seed, the bench, epochs and a seed; None where
the epochs are too few"""


def controlled(
    supernets: Supernets, supernet: int, bench: BenchRows, epochs: int, seed: int
) -> Optional[Bits]:
    """Search with the controller in the published supernet; spend nothing further."""
    mask, cost = by_controller(supernets[PUBLISHED, OWN][supernet], ACCURACY, seed)
    return mask if cost <= epochs else None


@dataclass(frozen=True)
class BestTrained:
    """Spends the epochs that a supernet leaves on trainings of its best masks."""

    name: Tuple[str, str]
    measure: str

    def __call__(
        self,
        supernets: Supernets,
        supernet: int,
        bench: BenchRows,
        epochs: int,
        seed: int,
    ) -> Optional[Bits]:
        """Return the best of the masks that were trained, the first one if none was."""
        scored = supernets[self.name][supernet]
        ranking = scored.ranking(self.measure, seed)
        left = epochs - scored.cost(len(ranking))
        if left < 0:
            return None
        trained = TrainedBench(bench, self.measure, seed)
        top = [mask for mask in ranking if mask in trained]
        return max(top[: int(left / bench.epochs)] or top[:1], key=trained)


@dataclass(frozen=True)
class Tuned:
    """Spends the epochs that a supernet leaves on fine-tuning its best masks."""

    measure: str

    def __call__(
        self,
        supernets: Supernets,
        supernet: int,
        bench: BenchRows,
        epochs: int,
        seed: int,
    ) -> Optional[Bits]:
        """Return the best of the masks that were fine-tuned."""
        scored = supernets[IMPROVED, BATCH][supernet]
        tuned = supernets[IMPROVED, TUNED][supernet]
        ranking = scored.ranking(self.measure, seed)
        number = int((epochs - scored.cost(len(ranking))) / tuned.row['mask_epochs'])
        values = tuned.values[self.measure]
        return max(ranking[:number], key=values.__getitem__, default=None)


SUPERNET_SEARCHES: Dict[str, Tuple[List[Tuple[str, str]], Method]] = {
    'as published, controller': ([(PUBLISHED, OWN)], controlled),
    **{
        f'{name[0]}, {name[1]}, by {measure}, its best trained': (
            [name],
            BestTrained(name, measure),
        )
        for name, measure in (
            ((PUBLISHED, OWN), ACCURACY),
            ((PUBLISHED, OWN), LOSS),
            ((PUBLISHED, BATCH), LOSS),
            ((PUBLISHED, AVERAGED), LOSS),
            ((IMPROVED, OWN), ACCURACY),
            ((IMPROVED, OWN), LOSS),
            ((IMPROVED, BATCH), LOSS),
            ((IMPROVED, AVERAGED), LOSS),
            ((IMPROVED, TUNED), LOSS),
        )
    },
    **{
        f'{IMPROVED}, its best fine-tuned, by {measure}': (
            [(IMPROVED, BATCH), (IMPROVED, TUNED)],
            Tuned(measure),
        )
        for measure in (ACCURACY, LOSS)
    },
}
"""the searches, and the scores that each needs"""


def supernet_seeds(supernets: Supernets, needed: List[Tuple[str, str]]) -> Any:
    """Return the seeds of supernets that all the needed scores are there of."""
    return sorted(set.intersection(*(set(supernets[name]) for name in needed)))
