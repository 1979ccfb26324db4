"""Compare searchers by what they find for how many evaluations.

Every searcher searches the same problems: simulated rewards, whose best mask is known
exactly, or a table with the reward of every mask. Reported is the regret, the best
reward there is minus the best one found, after a number of distinct masks: a mask that
is asked for again costs nothing. As at the end of a search, the searcher's mode
competes. Errors are standard errors over seeds; the last line of a problem has the
differences between the default controller and the best Optuna sampler, seed by seed.
"""

import argparse
import statistics
import time
from functools import partial
from typing import Callable, Dict, List

from ean_mm.launch import explain_errors
from ean_mm.visualization import require_picture
from mask_table import MaskTable, read_values
from regret_report import Regrets, draw_regrets, mean_and_error, regret_table
from result_file import ResultFile
from searches_by_count import OPTUNA, OURS, SEARCHERS, Problem, search_as
from simulator import SimulatedReward

SPARSITY_WEIGHT = 2.0
"""of the rewards in a table"""

BySeed = Dict[str, Dict[int, List[float]]]
"""the regrets of a searcher with a seed, one for each number of masks"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--bits', type=int, nargs='*', default=[9, 16, 54], help='simulated problems'
    )
    parser.add_argument(
        '--pairwise',
        type=float,
        default=0.3,
        help='share of the simulated variance that is in pairs of blocks',
    )
    parser.add_argument('--table', help='JSON list of {mask, reward}, of every mask')
    parser.add_argument(
        '--searchers', nargs='+', default=list(SEARCHERS), choices=SEARCHERS
    )
    parser.add_argument('--seeds', type=int, default=20, help='problems of each size')
    parser.add_argument('--first-seed', type=int, default=100)
    parser.add_argument(
        '--masks', type=int, nargs='+', default=[64, 300, 900], help='distinct masks'
    )
    parser.add_argument(
        '--out', help='JSON file for the results; what it has already is not run again'
    )
    parser.add_argument('--figure', help='picture to write: .png, .svg or .pdf')
    return parser.parse_args()


def list_problems(args: argparse.Namespace) -> Dict[str, Callable[[int], Problem]]:
    """Return what builds each problem from a seed, by the problem's name."""
    problems: Dict[str, Callable[[int], Problem]] = {
        f'{bits} bits, {args.pairwise:.0%} pairwise': partial(
            lambda bits, seed: SimulatedReward(bits, seed=seed, pairwise=args.pairwise),
            bits,
        )
        for bits in args.bits
    }
    if args.table:
        for name, values in read_values(args.table, 'reward').items():
            table = MaskTable(values, SPARSITY_WEIGHT)
            problems[name] = lambda seed, table=table: table
    return problems


def run(args: argparse.Namespace, results: ResultFile) -> None:
    """Run every searcher on every problem with every seed that has no result yet."""
    for name, build in list_problems(args).items():
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            problem = None
            for searcher in args.searchers:
                key = dict(problem=name, searcher=searcher, seed=seed, masks=args.masks)
                if results.find(**key):
                    continue
                problem = problem or build(seed)
                started = time.time()
                outcomes = search_as(searcher, problem, args.masks, seed)
                results.records.append(
                    dict(
                        key,
                        distinct=[distinct for distinct, _ in outcomes],
                        regret=[regret for _, regret in outcomes],
                        seconds=round(time.time() - started, 2),
                    )
                )
                results.save()


def by_problem(args: argparse.Namespace, results: ResultFile) -> Dict[str, BySeed]:
    """Return the regrets of the runs with the numbers of masks asked for."""
    regrets: Dict[str, BySeed] = {}
    for entry in results.records:
        if entry['masks'] == args.masks:
            by_searcher = regrets.setdefault(entry['problem'], {})
            by_seed = by_searcher.setdefault(entry['searcher'], {})
            by_seed[entry['seed']] = entry['regret']
    return regrets


def against_best(args: argparse.Namespace, regrets: BySeed) -> List[str]:
    """Write our regret minus that of Optuna's best sampler, seed by seed."""
    cells = [f'*{OURS} - best of Optuna*']
    for index in range(len(args.masks)):
        means = {
            name: statistics.mean(regret[index] for regret in regrets[name].values())
            for name in OPTUNA
            if name in regrets
        }
        best = min(means, key=means.__getitem__)
        differences = [
            regrets[OURS][seed][index] - regrets[best][seed][index]
            for seed in sorted(regrets[OURS].keys() & regrets[best].keys())
        ]
        cells.append(f'{mean_and_error(differences)} ({best})')
    return cells


def main() -> None:
    args = parse_args()
    if args.figure:
        require_picture(args.figure)
    results = ResultFile(args.out)
    run(args, results)
    found = by_problem(args, results)
    regrets: Regrets = {
        problem: {
            searcher: dict(zip(args.masks, map(list, zip(*by_seed.values()))))
            for searcher, by_seed in by_searcher.items()
        }
        for problem, by_searcher in found.items()
    }
    differences = {
        problem: against_best(args, by_searcher)
        for problem, by_searcher in found.items()
        if OURS in by_searcher and by_searcher.keys() & set(OPTUNA)
    }
    print(regret_table(regrets, SEARCHERS, 'masks', differences))
    if args.figure:
        figure = draw_regrets(regrets, SEARCHERS, 'distinct masks')
        figure.savefig(args.figure, dpi=150)


if __name__ == '__main__':
    explain_errors(main)
