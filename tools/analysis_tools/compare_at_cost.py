"""Compare searchers that judge masks by training them, at equal cost.

Every searcher may train for the same number of epochs, on simulated trainings whose
true accuracies are known or on a table with the accuracy of every mask; noise is added
to what it is told. Reported is the regret: the accuracy of the best mask there is minus
the true accuracy of the mask that the searcher recommends, by which noise is not
mistaken for accuracy. That the recommended network is trained once more at the end is
charged to nobody. Rewards are accuracies, without sparsity.

Simulated (``simulator.py``) are short trainings that rank masks as those with DIA do
(fidelity 0.95), and as those with SE do (0.2). A supernet costs as long a training as a
mask does, and two epochs for its 900 evaluations; it ranks masks with Kendall's tau of
0.2. It recommends its best mask, or the best of its top masks that the remaining epochs
are spent on.

With --out a killed comparison goes on by the same command, and more --seeds are added
to those that were run.
"""

import argparse
import glob
import time
from functools import cache
from itertools import product
from typing import Callable, Dict

from ean_mm.launch import explain_errors
from ean_mm.visualization import require_picture
from mask_table import read_tables
from regret_report import Regrets, draw_regrets, regret_table
from result_file import Result, ResultFile
from searches_at_cost import EPOCHS, SEARCHERS
from simulator import SimulatedReward, SimulatedTraining

TABLES = ['docs/data/resnet20_se_cifar10_rewards.json', 'docs/data/bench_*.csv']
SHORT_TRAININGS = '9 bits, short as DIA', '9 bits, short as SE'
"""problems on which several budgets are tried"""

Problem = Callable[[int], SimulatedTraining]
"""builds a problem from a seed"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--trainings', type=int, nargs='+', default=[20, 40, 80])
    parser.add_argument('--seeds', type=int, default=50)
    parser.add_argument('--first-seed', type=int, default=1000)
    parser.add_argument(
        '--tables', nargs='*', default=TABLES, help='files, or patterns'
    )
    parser.add_argument(
        '--column', default='accuracy', help='of the tables, in percent'
    )
    parser.add_argument(
        '--problems', nargs='*', help='only problems whose names contain one of these'
    )
    parser.add_argument('--noise', type=float, default=0.28, help='in percent')
    parser.add_argument(
        '--searchers', nargs='+', default=list(SEARCHERS), choices=SEARCHERS
    )
    parser.add_argument(
        '--out', help='JSON file for the results; what it has already is not run again'
    )
    parser.add_argument('--figure', help='picture to write: .png, .svg or .pdf')
    return parser.parse_args()


def list_problems(args: argparse.Namespace) -> Dict[str, Problem]:
    """Return the problems by their names."""

    def simulated(bits: int, pairwise: float, fidelity: float) -> Problem:
        def build(seed: int) -> SimulatedTraining:
            truth = SimulatedReward(
                bits, seed=seed, spread=0.94, pairwise=pairwise, sparsity_weight=0
            )
            return SimulatedTraining(
                truth, seed=seed, noise=args.noise, fidelity=fidelity
            )

        return build

    problems = {
        '9 bits, short as DIA': simulated(9, 0.3, 0.95),
        '9 bits, short as SE': simulated(9, 0.3, 0.2),
        '9 bits, 80% pairwise': simulated(9, 0.8, 0.95),
    }
    for pattern in args.tables:
        paths = sorted(glob.glob(pattern))
        if not paths:
            print(f'skipped: there is no {pattern}')
        for path in paths:
            for name, table in read_tables(path, args.column).items():
                problems[name] = lambda seed, table=table: SimulatedTraining(
                    table, seed=seed, noise=args.noise
                )
    problems['16 bits'] = simulated(16, 0.3, 0.95)
    wanted = args.problems or ['']
    return {
        name: build
        for name, build in problems.items()
        if any(part in name for part in wanted)
    }


def is_tried(searcher: str, problem: str) -> bool:
    """Whether a searcher would find something on a problem that is not known yet."""
    if 'and 20' in searcher:
        return problem in SHORT_TRAININGS
    # who trains in full finds the same on both of these
    return problem != SHORT_TRAININGS[1] or 'surrogate' in searcher


def run(args: argparse.Namespace, results: ResultFile) -> None:
    """Run every searcher on every problem, with the seeds that it has no result of."""
    for problem, build in list_problems(args).items():
        build = cache(build)
        searchers = [name for name in args.searchers if is_tried(name, problem)]
        for searcher, trainings in product(searchers, args.trainings):
            key = dict(
                problem=problem,
                searcher=searcher,
                trainings=trainings,
                epochs=trainings * EPOCHS,
                noise=args.noise,
                first_seed=args.first_seed,
            )
            result = results.find(**key)
            if result is None:
                result = dict(key, regret=[], seconds=0.0)
                results.records.append(result)
            extend(result, build, args.first_seed + args.seeds, results.save)


def extend(result: Result, build: Problem, end: int, save: Callable[[], None]) -> None:
    """Add the regrets of further seeds to a result, and save each of them.

    Args:
        result: The result of a searcher on a problem.
        build: The problem.
        end: The seed to stop before.
        save: Saves the result.
    """
    search = SEARCHERS[result['searcher']]
    started = time.process_time() - result['seconds']
    for seed in range(result['first_seed'] + len(result['regret']), end):
        training = build(seed)
        truth = training.truth
        mask = search(training, result['trainings'], seed)
        result['regret'].append(round(truth.best_reward - truth(mask), 4))
        result['seconds'] = round(time.process_time() - started, 1)
        save()


def regrets_of(args: argparse.Namespace, results: ResultFile) -> Regrets:
    """Return the regrets with the noise and the seeds of the command line."""
    regrets: Regrets = {}
    for each in results.records:
        if (each['noise'], each['first_seed']) == (args.noise, args.first_seed):
            by_searcher = regrets.setdefault(each['problem'], {})
            by_cost = by_searcher.setdefault(each['searcher'], {})
            by_cost[each['trainings']] = each['regret']
    return regrets


def main() -> None:
    args = parse_args()
    if args.figure:
        require_picture(args.figure)
    results = ResultFile(args.out)
    run(args, results)
    regrets = regrets_of(args, results)
    print(regret_table(regrets, SEARCHERS, 'trainings'))
    if args.figure:
        figure = draw_regrets(regrets, SEARCHERS, 'cost in full trainings')
        figure.savefig(args.figure, dpi=110)


if __name__ == '__main__':
    explain_errors(main)
