"""Replay searches on a bench of really trained masks, at equal cost.

tools/experiments/bench.py trains every mask, and bench_supernets.py supernets. A replay
asks their rows instead of a GPU. Every search may spend the same number of epochs, by
each measure that a training has: accuracy and loss on the reward images, and training
loss. Reported is the regret on the test accuracy: that of the best mask minus that of
the recommended one, both as a Gaussian process expects them by all trainings. Beside
it stands how well each measure and each supernet ranks the masks.

With --out a killed replay goes on by the same command; what was found by other rows of
the bench is found anew.
"""

import argparse
import hashlib
import json
import statistics
import sys
from itertools import product
from pathlib import Path
from typing import Any, Dict, Iterator, List

sys.path.append(str(Path(__file__).parents[1] / 'experiments'))

from bench_searches import searches
from ean_mm.launch import explain_errors
from ean_mm.visualization import require_picture
from regret_report import Regrets, draw_regrets
from replay_report import IN_SUPERNET, ranking_block, replay_block
from result_file import Result, ResultFile
from studies.command_line import add_report_arguments, report
from supernet_searches import SUPERNET_SEARCHES, Supernets, supernet_seeds
from trained_bench import MEASURES, BenchRows, TrainedBench

REPLAYS_OF_A_SUPERNET = 20


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--attention', default='DIA')
    parser.add_argument(
        '--folder',
        type=Path,
        default='docs/data',
        help='folder of bench_ATTENTION.csv and supernets_ATTENTION.csv',
    )
    parser.add_argument('--epochs', type=int, nargs='+', default=[12, 24, 48, 96])
    parser.add_argument('--seeds', type=int, default=200, help='replays')
    parser.add_argument(
        '--measures', nargs='+', default=list(MEASURES), choices=MEASURES
    )
    parser.add_argument(
        '--searches', nargs='*', help='only those whose names contain one of these'
    )
    parser.add_argument(
        '--part', action='store_true', help='replay though masks have no training yet'
    )
    parser.add_argument(
        '--out', help='JSON file for the results; what it has already is not run again'
    )
    parser.add_argument('--figure', help='picture to write: .png, .svg or .pdf')
    add_report_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.figure:
        require_picture(args.figure)
    name = args.attention.lower()
    bench = BenchRows.read(args.folder / f'bench_{name}.csv', args.attention)
    if not args.part:
        bench.require_all()
    supernets = Supernets(args.folder / f'supernets_{name}.csv', bench)
    results = ResultFile(args.out)
    state = dict(attention=args.attention, rows=hash_of(bench))
    results.records = [
        each
        for each in results.records
        if each['attention'] != args.attention or state.items() <= each.items()
    ]
    if not args.only_report:
        replay(args, bench, results, state)
        replay_supernets(args, bench, supernets, results, state)
    regrets = regrets_of(args, results)
    blocks = {
        f'bench replays {args.attention}': replay_block(bench, supernets, regrets),
        f'bench scores {args.attention}': ranking_block(bench, supernets),
    }
    report(args, blocks)
    print('\n' + blocks[f'bench scores {args.attention}'])
    if args.figure and regrets:
        searchers = dict.fromkeys(name for found in regrets.values() for name in found)
        figure = draw_regrets(regrets, searchers, 'cost in epochs')
        figure.savefig(args.figure, dpi=110)


def hash_of(bench: BenchRows) -> str:
    """Hash what replays see of a bench."""
    columns = [column for column, _ in MEASURES.values()] + ['accuracy']
    content = [
        (job.mask, job.seed, *(row[column] for column in columns))
        for job, row in sorted(bench.rows.items())
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def replay(
    args: argparse.Namespace, bench: BenchRows, results: ResultFile, state: Any
) -> None:
    """Replay the searches by training, with the seeds that there is no result of."""
    benches = {
        (measure, seed): TrainedBench(bench, measure, seed)
        for measure, seed in product(args.measures, range(args.seeds))
    }
    truth = bench.truth
    for epochs, measure, (name, search) in product(
        args.epochs, args.measures, wanted(args, searches(bench.epochs))
    ):
        key = dict(state, problem=f'by {measure}', searcher=name, epochs=epochs)
        result = record(results, key)
        for seed in range(len(result['regret']), args.seeds):
            mask = search(benches[measure, seed], epochs, seed)
            result['regret'].append(round(truth.best_reward - truth(mask), 4))
            if seed % 20 == 19:
                results.save()
        results.save()


def replay_supernets(
    args: argparse.Namespace,
    bench: BenchRows,
    supernets: Supernets,
    results: ResultFile,
    state: Any,
) -> None:
    """Replay the searches in supernets: a mean of replays for each supernet's seed."""
    truth = bench.truth
    for name, (needed, search) in wanted(args, SUPERNET_SEARCHES):
        seeds = supernet_seeds(supernets, needed)
        for epochs in args.epochs if seeds else ():
            of_supernets = []
            for supernet in seeds:
                masks = [
                    search(supernets, supernet, bench, epochs, seed)
                    for seed in range(min(args.seeds, REPLAYS_OF_A_SUPERNET))
                ]
                known = [truth(mask) for mask in masks if mask is not None]
                if known:
                    regret = truth.best_reward - statistics.fmean(known)
                    of_supernets.append(round(regret, 4))
            key = dict(state, problem=IN_SUPERNET, searcher=name, epochs=epochs)
            record(results, key)['regret'] = of_supernets
    results.save()


def wanted(args: argparse.Namespace, known: Dict[str, Any]) -> Iterator[Any]:
    """Yield the searches that are asked for, with their names."""
    for name, search in known.items():
        if any(part in name for part in args.searches or ['']):
            yield name, search


def record(results: ResultFile, key: Result) -> Result:
    """Return the record with a key, a new one if there is none."""
    result = results.find(**key)
    if result is None:
        result = dict(key, regret=[])
        results.records.append(result)
    return result


def regrets_of(args: argparse.Namespace, results: ResultFile) -> Regrets:
    """Return the regrets of an attention, in the order of the searches."""
    regrets: Regrets = {}
    problems: List[str] = [f'by {measure}' for measure in args.measures]
    for problem in [*problems, IN_SUPERNET]:
        for each in results.records:
            if (each['attention'], each['problem']) == (args.attention, problem):
                if each['epochs'] in args.epochs and each['regret']:
                    by_searcher = regrets.setdefault(problem, {})
                    by_cost = by_searcher.setdefault(each['searcher'], {})
                    by_cost[each['epochs']] = each['regret']
    return regrets


if __name__ == '__main__':
    explain_errors(main)
