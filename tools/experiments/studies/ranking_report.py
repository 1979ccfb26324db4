"""How well a supernet ranks masks: its accuracies against those of trained networks."""

import itertools
import statistics
from typing import Dict, List, Sequence, Tuple

import numpy as np
from scipy.stats import kendalltau

from studies.ranking_table import RankingTable
from studies.report_text import effort, markdown_table
from studies.results import Results
from studies.supernet_scores import scores

SIMULATIONS = 2000


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
