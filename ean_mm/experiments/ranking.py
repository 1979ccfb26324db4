"""How well a supernet ranks masks: its accuracies against those of trained networks."""

import hashlib
import itertools
import statistics
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.runner.checkpoint import find_latest_checkpoint
from scipy.stats import kendalltau

from ean_mm.errors import EANError
from ean_mm.experiments.report import effort, markdown_table
from ean_mm.experiments.results import Results, Row
from ean_mm.experiments.runs import (
    SEARCH,
    UNSHARED,
    Run,
    Table,
    build_runner,
    execute,
    known_names,
    read_mask,
    where_and_when,
    written,
)
from ean_mm.mask import Mask
from ean_mm.models import count_parameters
from ean_mm.search import BNCalibration, MaskEvaluator, SearchSpace
from ean_mm.search.evaluation.calibration import draw_batches

SAMPLED = 'sampled mask'
REPEATED = 'repeated mask'
SUPERNET = 'supernet'
AS_PUBLISHED = 'as published'
SIMULATIONS = 2000


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
        **kwargs: See :class:`~ean_mm.experiments.runs.Table`.

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
            masks[written(next(draws))] = None
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


def score_masks(
    table: RankingTable, results: Results, work_dir: Path, calibration_batches: int
) -> None:
    """Add the accuracies of a table's masks in its supernets to the results.

    Args:
        table: The table, whose networks and supernets have been trained.
        results: Where the results are and go.
        work_dir: Folder with the supernets. One that is missing is trained again.
        calibration_batches: Training batches to re-estimate the statistics of the norm
            layers on for each mask; 0 to use the supernet's own.
    """
    masks = list(table.trained(results))
    for search in table.all_searches():
        known = results.by_hash()
        missing = [
            mask
            for mask in masks
            if _score_hash(search, mask, calibration_batches) not in known
        ]
        if not missing:
            continue
        if not (search.folder(work_dir) / 'last_checkpoint').is_file():
            execute(search, work_dir)
        for row in _score(search, work_dir, missing, calibration_batches):
            results.append({**known[search.hash], **row})


def scores(
    table: RankingTable, results: Results, search: Run, calibration_batches: int
) -> Dict[str, float]:
    """Return the accuracy of each mask in the supernet of a search, in percent."""
    known = results.by_hash()
    hashes = {
        mask: _score_hash(search, mask, calibration_batches)
        for mask in table.trained(results)
    }
    return {m: known[h]['percent'] for m, h in hashes.items() if h in known}


def _score_hash(search: Run, mask: str, calibration_batches: int) -> str:
    text = f'{search.hash} {mask} {calibration_batches}'
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@torch.no_grad()
def _score(
    search: Run, work_dir: Path, masks: Sequence[str], calibration_batches: int
) -> List[Row]:
    folder = search.folder(work_dir)
    runner = build_runner(search, folder / 'scores')
    runner.load_checkpoint(find_latest_checkpoint(str(folder)))
    model = runner.model.to(memory_format=torch.channels_last)
    calibration = None
    if calibration_batches:
        loader = runner.build_dataloader(runner.cfg.train_dataloader)
        calibration = BNCalibration(model, draw_batches(loader, calibration_batches))
    space = SearchSpace(model)
    evaluator = MaskEvaluator(
        model,
        space,
        runner.build_dataloader(runner.cfg.val_dataloader),
        runner.build_evaluator(runner.cfg.val_evaluator),
        calibration,
    )
    bits = [read_mask(mask).bits for mask in masks]
    rows = []
    for mask, plugged, metrics in zip(masks, bits, evaluator.evaluate(bits)):
        space.apply(plugged)
        rows.append(
            dict(
                variant=_supernet(calibration_batches),
                mask=mask,
                percent=round(metrics[search.metric] * search.to_percent, 4),
                parameters=count_parameters(model),
                config_hash=_score_hash(search, mask, calibration_batches),
                **where_and_when(),
            )
        )
    return rows


def _supernet(calibration_batches: int) -> str:
    if not calibration_batches:
        return SUPERNET
    return f'{SUPERNET}, norm layers on {calibration_batches} batches'


def tau(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Kendall's tau-b, NaN where one side is constant."""
    return float(kendalltau(one, other).statistic)


def noise_ceilings(accuracies: Sequence[Sequence[float]]) -> Tuple[float, float, float]:
    """Simulate which tau the noise of training leaves within reach.

    The standard deviation of a training is that between trainings of the same mask. The
    true accuracies are taken to be the measured ones, drawn together towards their mean
    by the variance that the noise has added.

    Args:
        accuracies: For each mask what its trainings have reached, in percent. Some mask
            has two or more.

    Returns:
        The standard deviation of a training in percent, and two means of tau to the
        measured accuracies: of the true ones (0 where nothing but noise is measured),
        and of one more training of each mask.
    """
    repeated = [values for values in accuracies if len(values) > 1]
    squares = sum((len(v) - 1) * statistics.variance(v) for v in repeated)
    variance = squares / sum(len(v) - 1 for v in repeated)
    counts = np.array([len(values) for values in accuracies])
    measured = np.array([statistics.fmean(values) for values in accuracies])
    spread, added = measured.var(ddof=1), np.mean(variance / counts)
    kept = max(0.0, 1 - added / spread) if spread else 0.0
    true = measured.mean() + kept**0.5 * (measured - measured.mean())
    rng = np.random.default_rng(0)
    perfect, again = [], []
    for _ in range(SIMULATIONS):
        noise = rng.normal(0, variance**0.5, (2, len(true)))
        trained = true + noise[0] / counts**0.5
        perfect.append(tau(true, trained) if kept else 0.0)
        again.append(tau(true + noise[1], trained))
    return variance**0.5, float(np.mean(perfect)), float(np.mean(again))


def ranking_block(
    table: RankingTable, results: Results, calibration_batches: int
) -> str:
    """Write how well the supernets rank the masks, as Markdown."""
    accuracies = table.trained(results)
    trained = {mask: statistics.fmean(values) for mask, values in accuracies.items()}
    lines = []
    for supernet in table.supernets:
        for batches in (0, calibration_batches):
            of_seeds = [
                scores(table, results, search, batches)
                for search in table.searches(supernet)
            ]
            if any(len(known) > 1 for known in of_seeds):
                statistics_of = f'of {batches} batches' if batches else 'own'
                cells = _correlations(of_seeds, trained)
                lines.append([supernet, statistics_of, *cells])
    if not lines:
        return 'No mask has been evaluated in a supernet yet.'
    seeds = [f'seed {seed}' for seed in table.seeds]
    head = [
        'supernet',
        'statistics',
        'masks',
        *seeds,
        'mean',
        'between',
        'range',
        'half',
    ]
    parts = [
        f"**{table.network}, {table.attention}**. Kendall's tau between the accuracy "
        f'of {len(trained)} masks in a supernet, on its reward images, and that of '
        'networks trained with each of them alone, on the test images; with the '
        "statistics of the norm layers that the supernet's training has left, and "
        're-estimated for each mask. Then, as means: *between*, the tau between two of '
        'these supernets; *range*, from the worst to the best mask in a supernet, in '
        'percentage points; *half*, the tau between the accuracy in a supernet and how '
        'near a mask is to half of the blocks.',
        markdown_table(head, lines),
        f'{_ceiling(list(accuracies.values()))} {effort(table.finished(results))}',
    ]
    return '\n\n'.join(parts)


def _correlations(
    of_seeds: Sequence[Dict[str, float]], trained: Dict[str, float]
) -> List[str]:
    """Write what supernets of several seeds say of masks: their number, tau, etc."""
    of_seeds = [known if len(known) > 1 else {} for known in of_seeds]
    taus, ranges, half, between = [], [], [], []
    for known in filter(None, of_seeds):
        reached = list(known.values())
        taus.append(tau(reached, [trained[mask] for mask in known]))
        ranges.append(max(reached) - min(reached))
        nearness = [-abs(mask.count('1') - mask.count('0')) for mask in known]
        half.append(tau(reached, nearness))
    for one, other in itertools.combinations(filter(None, of_seeds), 2):
        common = one.keys() & other.keys()
        between.append(tau([one[m] for m in common], [other[m] for m in common]))
    numbers = sorted({len(known) for known in of_seeds if known})
    of_seed = iter(taus)
    return [
        ' or '.join(map(str, numbers)),
        *(f'{next(of_seed):.2f}' if known else '' for known in of_seeds),
        f'{statistics.fmean(taus):.2f}',
        f'{statistics.fmean(between):.2f}' if between else '',
        f'{statistics.fmean(ranges):.1f}',
        f'{statistics.fmean(half):.2f}',
    ]


def _ceiling(accuracies: List[List[float]]) -> str:
    repeated = [values for values in accuracies if len(values) > 1]
    if not repeated:
        return 'No mask was trained twice, so that the noise of training is unknown.'
    deviation, perfect, again = noise_ceilings(accuracies)
    trainings = sum(len(values) for values in repeated)
    means = [statistics.fmean(values) for values in accuracies]
    return (
        f'Trained alone, the masks reach {min(means):.2f} to {max(means):.2f} %. '
        f'The standard deviation of a training is {deviation:.2f} percentage points '
        f'({trainings} trainings of {len(repeated)} masks). With that noise the true '
        f'accuracies would reach a tau of {perfect:.2f} to the measured ones, and one '
        f'more training of each mask {again:.2f} (means of {SIMULATIONS:,} '
        'simulations).'
    )
