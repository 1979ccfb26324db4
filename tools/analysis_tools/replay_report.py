"""How well scores rank the masks of a bench, and what replayed searches have found."""

import statistics
from typing import Dict, List, Sequence

from scipy.stats import kendalltau

from ean_mm.search.space import Bits
from regret_report import Regrets, regret_table, standard_error
from studies.report_text import machines, markdown_table
from supernet_searches import Supernets
from trained_bench import MEASURES, BenchRows

FEWEST = 8
"""masks without which there are no ranks"""

IN_SUPERNET = 'in a supernet'


def ranking_block(bench: BenchRows, supernets: Supernets) -> str:
    """Write how well each score ranks the masks, as Markdown."""
    masks = list(bench.seeds)
    if len(masks) < FEWEST:
        return f'{len(masks)} masks are trained, too few to rank.'
    lines = [
        _line(bench, f'trained for {n + 1} of {bench.epochs} epochs', measure, [values])
        for measure, of_epochs in bench.values.items()
        for n, of_epoch in enumerate(of_epochs)
        for values in [{mask: of_epoch[mask, min(bench.seeds[mask])] for mask in masks}]
    ]
    for number, line in enumerate(lines):
        line.append(str((number % bench.epochs + 1) * 2**bench.num_bits))
    for (supernet, scores), of_seeds in supernets.by_name.items():
        for measure in list(MEASURES)[:2]:
            values = [scored.values[measure] for scored in of_seeds.values()]
            line = _line(bench, f'supernet {supernet}, {scores}', measure, values)
            costs = [each.cost(2**bench.num_bits) for each in of_seeds.values()]
            lines.append([*line, f'{statistics.fmean(costs):.0f}'])
    head = [
        'score',
        'measure',
        'seeds',
        'tau, all masks',
        'tau, own training left out',
        'tau, better half',
        'regret of its best',
        'epochs for all masks',
    ]
    return (
        f"{bench.attention}: Kendall's tau between scores of {len(masks)} masks and "
        f'their true test accuracies. {_truth(bench)} The second tau is to what all '
        'trainings but one of the mask say of it, as a short training shares its luck '
        'with the whole one; the third is over the truly better half of the masks. '
        'Supernets: means with standard errors over seeds; *regret of its best*: what '
        'the mask with the best score is worse than the best one, in points.'
        f'\n\n{markdown_table(head, lines)}'
    )


def _line(
    bench: BenchRows, score: str, measure: str, of_seeds: Sequence[Dict[Bits, float]]
) -> List[str]:
    truth, others = bench.truth.values, bench.others_truth
    masks = list(bench.seeds)
    middle = statistics.median(truth[mask] for mask in masks)
    better = [mask for mask in masks if truth[mask] >= middle]
    cells = []
    for known, against in ((masks, truth), (masks, others), (better, truth)):
        taus = [
            float(
                kendalltau([v[m] for m in known], [against[m] for m in known]).statistic
            )
            for v in of_seeds
        ]
        cells.append(_mean(taus))
    regrets = []
    for values in of_seeds:
        highest = max(values.values())
        best = [mask for mask, value in values.items() if value == highest]
        found = statistics.fmean(truth[mask] for mask in best)
        regrets.append(bench.truth.best_reward - found)
    return [score, measure, str(len(of_seeds)), *cells, _mean(regrets)]


def _mean(values: Sequence[float]) -> str:
    text = f'{statistics.fmean(values):.2f}'
    return f'{text} ± {standard_error(values):.2f}' if len(values) > 1 else text


def replay_block(bench: BenchRows, supernets: Supernets, regrets: Regrets) -> str:
    """Write what the replayed searches have found, as Markdown."""
    if not regrets:
        return 'No search has been replayed yet.'
    searchers = dict.fromkeys(name for found in regrets.values() for name in found)
    supernet_rows = supernets.rows or []
    numbers = {
        len(values)
        for problem, found in regrets.items()
        for by_cost in found.values()
        for values in by_cost.values()
        if problem != IN_SUPERNET
    }
    replays = ' to '.join(
        map(str, sorted({min(numbers, default=0), max(numbers, default=0)}))
    )
    parts = [
        f'{bench.attention}: regret of the recommended mask on the true test accuracy, '
        f'in points. {_truth(bench)} {replays} replays a cell with standard errors of '
        'the search alone, as all replays see the same trainings; *in a supernet* '
        'these are over the seeds of supernets, of which there are few. An epoch is '
        f'one of a training, which has {bench.epochs}; a supernet is charged for its '
        'epochs and, by time, for its scores. That a training is measured on the '
        'reward images, and that the recommended network is trained at last, is '
        'charged to nobody.',
        regret_table(regrets, searchers, 'epochs'),
        f'Trained on {machines(bench.rows.values())}'
        + (f'; supernets on {machines(supernet_rows)}.' if supernet_rows else '.'),
    ]
    return '\n\n'.join(parts)


def _truth(bench: BenchRows) -> str:
    total = 2**bench.num_bits
    text = (
        f'The truth is what a Gaussian process expects by all {len(bench.rows)} '
        f'trainings of {len(bench.seeds)} of {total} masks: masks then have a standard '
        f'deviation of {bench.truth.spread:.2f} points, the best one '
        f'{bench.truth.best_reward:.2f} %.'
    )
    if bench.missing:
        text += (
            f' Searches that ask for one of the other {bench.missing} masks are told '
            'nothing of it, which costs nothing.'
        )
    return text
