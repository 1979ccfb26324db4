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
"""

import argparse
import csv
import glob
import json
import statistics
import time
from functools import cache
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np
from matplotlib.figure import Figure

from ean_mm.errors import EANError
from ean_mm.fileio import atomic_write
from ean_mm.launch import explain_errors
from ean_mm.search.history import Request
from ean_mm.search.space import Bits
from ean_mm.search.strategies.base import BaseSearcher, bits_of
from ean_mm.search.strategies.controller import RLController
from ean_mm.search.strategies.optuna_searcher import OptunaSearcher
from ean_mm.search.strategies.random_searcher import RandomSearcher
from ean_mm.search.strategies.surrogate_searcher import SurrogateSearcher
from ean_mm.visualization import require_picture
from simulator import SimulatedReward, SimulatedTraining

EPOCHS = 20
"""of a full training"""
SHORT = 4
MASKS_PER_STEP = 4
SUPERNET_EPOCHS = EPOCHS + 2
SUPERNET_FIDELITY = 0.31
"""correlation that is a Kendall's tau of 0.2 for normal values: sin(0.2 pi / 2)"""
SUPERNET_MASKS = 900
TABLES = ['docs/data/resnet20_se_cifar10_rewards.json', 'docs/data/bench_*.csv']

Result = Dict[str, Any]


class AccuracyTable:
    """The accuracy of every mask, in percent, as a problem to search.

    Args:
        accuracies: The accuracy of each mask.

    Raises:
        ValueError: There is not one of every mask.
    """

    def __init__(self, accuracies: Dict[Bits, float]) -> None:
        self.accuracies = accuracies
        self.num_bits = len(next(iter(accuracies), ()))
        if not accuracies or len(accuracies) != 2**self.num_bits:
            raise EANError(
                f'a table has {len(accuracies)} masks, not all of those of '
                f'{self.num_bits} bits'
            )
        self.mean_accuracy = statistics.mean(accuracies.values())
        self.spread = statistics.pstdev(accuracies.values())
        self.best_reward = max(accuracies.values())

    def accuracy(self, mask: Sequence[int]) -> float:
        """Return the accuracy of a mask."""
        return self.accuracies[tuple(mask)]

    __call__ = accuracy


def read_tables(path: str, column: str) -> Dict[str, AccuracyTable]:
    """Read tables of accuracies from JSON or CSV, one for each attention in it.

    Of a mask that is there several times, as with several seeds, the mean counts. What
    has not every mask is left out, and said.

    Args:
        path: A file with a mask and its accuracy in each entry.
        column: Name of the accuracy, in percent.
    """
    values: Dict[str, Dict[Bits, List[float]]] = {}
    try:
        if path.endswith('.json'):
            entries = json.loads(Path(path).read_text())
        else:
            with open(path, newline='') as file:
                entries = list(csv.DictReader(file))
        for entry in entries:
            name = ' '.join([Path(path).stem, *filter(None, [entry.get('attention')])])
            by_mask = values.setdefault(name, {})
            by_mask.setdefault(_bits(entry['mask']), []).append(float(entry[column]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EANError(
            f'{path} has no mask and {column} in each entry: {error!r:.80}'
        ) from error
    tables = {}
    for name, by_mask in values.items():
        means = {mask: statistics.mean(found) for mask, found in by_mask.items()}
        try:
            tables[name] = AccuracyTable(means)
        except EANError as error:
            print(f'skipped: {name}: {error}')
    return tables


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


def spend(
    searcher: BaseSearcher, training: SimulatedTraining, epochs: int
) -> Dict[Request, float]:
    """Let a searcher train masks until the epochs are spent; return what it was told.

    A mask that is asked for again costs nothing, and ends the search at last.
    """
    told: Dict[Request, float] = {}
    spent, draws, complete = 0, 0, True
    while complete and spent < epochs and draws < 3 * epochs / SHORT:
        asked = searcher.ask()
        requests = []
        for each in asked:
            budget = each.budget if isinstance(each, Request) else None
            requests.append(Request(bits_of(each), budget or EPOCHS))
        paid = []
        for each in requests:
            if each not in told:
                if spent + each.budget > epochs:
                    break
                told[each] = training(each.bits, each.budget / EPOCHS)
                spent += each.budget
            paid.append(each)
        rewards = [told[each] for each in paid]
        if not paid:
            break
        searcher.tell([each.bits for each in paid], rewards, rewards)
        complete = len(paid) == len(requests)
        draws += len(requests)
    return told


def measured_best(told: Dict[Request, float]) -> Bits:
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
    mode = Request(searcher.mode(), EPOCHS)  # it competes, as at a search's end
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
    'surrogate': lambda *args: by_model(*args, budgets=()),
    'surrogate, 4 and 20 epochs': lambda *args: by_model(
        *args, budgets=(SHORT, EPOCHS)
    ),
    'random': at_random,
    'tpe': by_tpe,
    'controller': by_controller,
    'supernet (22 epochs)': by_supernet,
    'supernet, its best trained': by_supernet_and_training,
}
SHORT_TRAININGS = '9 bits, short as DIA', '9 bits, short as SE'
"""problems on which several budgets are tried"""


def _problems(args: argparse.Namespace) -> Dict[str, Callable[[int], Any]]:
    """Return what builds each problem from a seed, by the problem's name."""

    def simulated(bits: int, pairwise: float, fidelity: float) -> Callable[[int], Any]:
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


def run(args: argparse.Namespace) -> List[Result]:
    """Run every searcher on every problem, those in the output file excepted."""
    results: List[Result] = []
    if args.out and Path(args.out).exists():
        try:
            results = json.loads(Path(args.out).read_text())
        except ValueError as error:
            raise EANError(
                f'{args.out} is not a result of this tool; remove it'
            ) from error
    done = {(r['problem'], r['searcher'], r['trainings']) for r in results}
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    for problem, build in _problems(args).items():
        build = cache(build)
        for searcher in args.searchers:
            if 'and 20' in searcher and problem not in SHORT_TRAININGS:
                continue
            if problem == SHORT_TRAININGS[1] and 'surrogate' not in searcher:
                continue  # the same as on the first: they train in full
            for trainings in args.trainings:
                if (problem, searcher, trainings) in done:
                    continue
                start = time.process_time()
                regrets = []
                for seed in seeds:
                    training = build(seed)
                    mask = SEARCHERS[searcher](training, trainings, seed)
                    truth = training.truth
                    regrets.append(truth.best_reward - truth(mask))
                results.append(
                    dict(
                        problem=problem,
                        searcher=searcher,
                        trainings=trainings,
                        epochs=trainings * EPOCHS,
                        noise=args.noise,
                        first_seed=args.first_seed,
                        regret=[round(regret, 4) for regret in regrets],
                        seconds=round(time.process_time() - start, 1),
                    )
                )
                if args.out:
                    with atomic_write(args.out) as file:
                        file.write(_dump(results).encode())
    return results


def _dump(results: List[Result]) -> str:
    return '[\n' + ',\n'.join(map(json.dumps, results)) + '\n]\n'


def tables(results: List[Result]) -> str:
    """Write the mean regrets as Markdown, with their standard errors."""
    numbers = sorted({result['trainings'] for result in results})
    heads = [f'{number} trainings' for number in numbers]
    lines = [f'| regret at a cost of | {" | ".join(heads)} |']
    lines.append('| --- ' * (len(numbers) + 1) + '|')
    for problem, by_searcher in _regrets(results).items():
        lines.append(f'| **{problem}** ' + '| ' * len(numbers) + '|')
        for searcher, regrets in by_searcher.items():
            cells = [
                f'{statistics.mean(regrets[number]):.3f} ± '
                f'{_standard_error(regrets[number]):.3f}'
                if number in regrets
                else ''
                for number in numbers
            ]
            lines.append(f'| {searcher} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def _regrets(
    results: List[Result],
) -> Dict[str, Dict[str, Dict[int, List[float]]]]:
    """Return regrets by problem, searcher and number of trainings."""
    regrets: Dict[str, Dict[str, Dict[int, List[float]]]] = {}
    for each in results:
        by_searcher = regrets.setdefault(each['problem'], {})
        by_searcher.setdefault(each['searcher'], {})[each['trainings']] = each['regret']
    return regrets


def draw(results: List[Result]) -> Figure:
    """Draw the mean regrets with their standard errors, an axis for each problem."""
    by_problem = _regrets(results)
    numbers = sorted({result['trainings'] for result in results})
    columns = min(len(by_problem), 3)
    rows = -(-len(by_problem) // columns)
    figure = Figure(figsize=(3.4 * columns + 2, 2.9 * rows), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(by_problem) :]:
        ax.set_visible(False)
    for ax, (problem, by_searcher) in zip(axes, by_problem.items()):
        for place, name in enumerate(SEARCHERS):
            if name not in by_searcher:
                continue
            known = {n: by_searcher[name][n] for n in numbers if n in by_searcher[name]}
            ax.errorbar(
                [numbers.index(number) for number in known],
                [np.mean(values) for values in known.values()],
                [_standard_error(values) for values in known.values()],
                label=name,
                color=f'C{place}',
                marker='o',
                capsize=3,
            )
        ax.set_title(problem, fontsize='medium')
        ax.set(xlabel='cost in full trainings', ylim=(0, None))
        ax.set_xticks(range(len(numbers)), numbers)
        ax.spines[['top', 'right']].set_visible(False)
    axes[0].set_ylabel('regret, points')
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside right center', frameon=False)
    return figure


def _bits(mask: str) -> Bits:
    return tuple(int(char) for char in mask if char in '01')


def _standard_error(values: Sequence[float]) -> float:
    if len(values) < 2:
        return float('nan')
    return statistics.stdev(values) / len(values) ** 0.5


def main() -> None:
    args = parse_args()
    if args.figure:
        require_picture(args.figure)
    results = run(args)
    print(tables(results))
    if args.figure:
        draw(results).savefig(args.figure, dpi=110)


if __name__ == '__main__':
    explain_errors(main)
