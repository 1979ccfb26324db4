"""A table with more of other masks and more supernets, to see how these rank masks."""

import itertools
from typing import Any, Dict, Iterator, List, Optional, Sequence

import numpy as np

from ean_mm.errors import EANError
from ean_mm.mask import Mask
from studies.results import Results, Row
from studies.run import SEARCH, Run
from studies.table import UNSHARED, Table, known_names, mask_text, read_mask

SAMPLED = 'sampled mask'
REPEATED = 'repeated mask'
AS_PUBLISHED = 'as published'


class RankingTable(Table):
    """The networks of a table that share attention, more of other masks, and supernets.

    The other masks are drawn with any number of bits set and trained with the first
    seed. A mask that was trained less often than asked for is trained again.

    Args:
        protocol: Name of the protocol.
        network: Name of the network.
        attention: Name of the attention.
        num_masks: How many different masks there should be at least.
        trainings: How often each mask is trained at least; more than there are seeds
            is not possible.
        supernets: Names of the protocol's supernets to compare with the one of the
            search config; None for all.
        **kwargs: See :class:`~studies.table.Table`.

    Raises:
        ValueError: The network's mask is not searched, or the protocol has no such
            supernet.
    """

    def __init__(
        self,
        protocol: str,
        network: str,
        attention: str,
        num_masks: int = 15,
        trainings: int = 2,
        supernets: Optional[Sequence[str]] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(protocol, [network], [attention], **kwargs)
        if self.networks[network].search is None:
            raise EANError(f'the protocol {protocol!r} has no supernet of {network}')
        self.network, self.attention = network, attention
        self.num_masks = num_masks
        self.trainings = min(trainings, len(self.seeds))
        self.supernets: Dict[str, Table] = {AS_PUBLISHED: self}
        for name in known_names(supernets, self.protocol.supernets, 'supernet'):
            options = {
                **(kwargs.get('search_options') or {}),
                **self.protocol.supernets[name],
            }
            self.supernets[name] = Table(
                protocol,
                [network],
                [attention],
                **{**kwargs, 'search_options': options},
            )

    def runs(self, results: Results) -> Iterator[Run]:
        """Yield the runs whose mask is known; what the table has not comes last."""
        runs = [run for run in super().runs(results) if run.variant != UNSHARED]
        yield from runs
        yield from self.all_searches()
        done = results.by_hash()
        searches = self.searches(AS_PUBLISHED)
        if not all(search.hash in done for search in searches):
            return  # masks that will be found need not be sampled
        like = read_mask(done[searches[0].hash]['mask'])
        seeds: Dict[str, List[int]] = {}
        for run in runs:
            if run.variant != SEARCH and run.seed not in seeds.setdefault(run.mask, []):
                seeds[run.mask].append(run.seed)
        for number, mask in enumerate(self._sampled(like, list(seeds)), 1):
            variant, seeds[mask] = f'{SAMPLED} #{number}', self.seeds[:1]
            yield self.run(self.network, self.attention, variant, self.seeds[0], mask)
        numbers = itertools.count(1)
        for mask, used in seeds.items():
            others = [seed for seed in self.seeds if seed not in used]
            for seed in others[: max(0, self.trainings - len(used))]:
                variant = f'{REPEATED} #{next(numbers)}'
                yield self.run(self.network, self.attention, variant, seed, mask)

    def _sampled(self, like: Mask, known: Sequence[str]) -> List[str]:
        """Draw as many masks as are missing to have enough."""
        masks = dict.fromkeys(known)
        enough = min(self.num_masks, 2 ** len(like.bits))
        draws = sampled_masks(like, seed=0)
        while len(masks) < enough:
            masks[mask_text(next(draws))] = None
        return list(masks)[len(known) :]

    def __len__(self) -> int:
        """Number of its runs, if no mask is found or drawn twice."""
        seeds = len(self.seeds)
        of_table = seeds * (4 + self.random_masks)
        masks = max(self.num_masks, 2 + seeds * (1 + self.random_masks))
        sampled = masks - 2 - seeds * (1 + self.random_masks)
        repeated = (masks - 2) * (self.trainings - 1)
        return of_table + sampled + repeated + seeds * (len(self.supernets) - 1)

    def searches(self, supernet: str) -> List[Run]:
        """Return the searches in a supernet, one a seed."""
        table = self.supernets[supernet]
        return [
            table.run(self.network, self.attention, SEARCH, seed) for seed in self.seeds
        ]

    def all_searches(self) -> List[Run]:
        """Return the searches in all supernets."""
        return [run for supernet in self.supernets for run in self.searches(supernet)]

    def trained(self, results: Results) -> Dict[str, List[float]]:
        """Return what the networks of each mask have reached, in percent."""
        accuracies: Dict[str, List[float]] = {}
        for row in self.finished(results):
            if row['variant'] != SEARCH:
                accuracies.setdefault(row['mask'], []).append(row['percent'])
        return accuracies

    def finished(self, results: Results) -> List[Row]:
        """Return the rows of its runs, searches among them, each once."""
        known = results.by_hash()
        hashes = dict.fromkeys(run.hash for run in self.runs(results))
        return [known[hash_] for hash_ in hashes if hash_ in known]


def sampled_masks(like: Mask, seed: int) -> Iterator[Mask]:
    """Draw masks for the stages of another one, every number of bits equally often."""
    rng = np.random.default_rng(seed)
    while True:
        bits = np.zeros(len(like.bits), int)
        plugged = rng.integers(len(bits) + 1)
        bits[rng.choice(len(bits), plugged, replace=False)] = 1
        yield Mask(tuple(bits), like.stage_blocks)
