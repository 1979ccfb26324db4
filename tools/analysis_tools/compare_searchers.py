"""Compare searchers by what they find for how many evaluations.

Every searcher searches the same problems: simulated rewards, whose best mask is known
exactly, or a table with the reward of every mask. Reported is the regret, the best
reward there is minus the best one found, after a number of distinct masks: a mask that
is asked for again costs nothing. As at the end of a search, the searcher's mode
competes. Errors are standard errors over seeds; the last table has the differences
between the default controller and the best Optuna sampler, seed by seed.
"""

import argparse
import json
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from matplotlib.figure import Figure
from mmengine.registry import TASK_UTILS

from ean_mm.errors import EANError
from ean_mm.fileio import atomic_write
from ean_mm.launch import explain_errors
from ean_mm.search.strategies.controller import PRESETS, RLController
from ean_mm.search.strategies.optuna_searcher import OptunaSearcher
from ean_mm.search.strategies.random_searcher import RandomSearcher
from ean_mm.visualization import require_picture
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

Result = Dict[str, Any]


class RewardTable:
    """The reward of every mask, read from a JSON list of ``{mask, reward}``."""

    def __init__(self, path: str, sparsity_weight: float = 2.0) -> None:
        try:
            entries = json.loads(Path(path).read_text())
            self.rewards = {_bits(entry['mask']): entry['reward'] for entry in entries}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise EANError(
                f'{path} is not a JSON list of {{mask, reward}}: {error!r:.80}'
            ) from error
        self.num_bits = len(next(iter(self.rewards), ()))
        if not self.rewards or len(self.rewards) != 2**self.num_bits:
            raise EANError(
                f'{path} has {len(self.rewards)} masks, not all of those of '
                f'{self.num_bits} bits'
            )
        self.sparsity_weight = sparsity_weight
        self.best_reward = max(self.rewards.values())

    def accuracy(self, mask: Sequence[int]) -> float:
        """Return the reward without its share for sparsity."""
        return self(mask) - self.sparsity_weight * (1 - sum(mask) / self.num_bits)

    def __call__(self, mask: Sequence[int]) -> float:
        """Return the reward of a mask."""
        return self.rewards[tuple(mask)]


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


def search(
    problem: Callable[[Sequence[int]], float],
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
    problem: Callable[[Sequence[int]], float],
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


def run(args: argparse.Namespace) -> List[Result]:
    """Run every searcher on every problem, those in the output file excepted."""
    if args.figure:
        require_picture(args.figure)
    results = _read(args.out)
    done = {_key(**entry) for entry in results}
    for name, build in _problems(args).items():
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            problem = None
            for searcher in args.searchers:
                if _key(name, searcher, seed, args.masks) in done:
                    continue
                problem = problem or build(seed)
                start = time.time()
                outcomes = search_as(searcher, problem, args.masks, seed)
                results.append(
                    dict(
                        problem=name,
                        searcher=searcher,
                        seed=seed,
                        masks=args.masks,
                        distinct=[distinct for distinct, _ in outcomes],
                        regret=[regret for _, regret in outcomes],
                        seconds=round(time.time() - start, 2),
                    )
                )
                if args.out:
                    with atomic_write(args.out) as file:
                        file.write(json.dumps(results, indent=1).encode())
    return results


def _key(
    problem: str, searcher: str, seed: int, masks: Sequence[int], **_: Any
) -> Tuple[Any, ...]:
    return problem, searcher, seed, tuple(masks)


def _read(path: Optional[str]) -> List[Result]:
    if path is None or not Path(path).exists():
        return []
    try:
        return json.loads(Path(path).read_text())
    except ValueError as error:
        raise EANError(f'{path} is not a result of this tool; remove it') from error


def _problems(args: argparse.Namespace) -> Dict[str, Callable[[int], Any]]:
    """Return what builds each problem from a seed, by the problem's name."""
    problems: Dict[str, Callable[[int], Any]] = {
        f'{bits} bits, {args.pairwise:.0%} pairwise': partial(
            lambda bits, seed: SimulatedReward(bits, seed=seed, pairwise=args.pairwise),
            bits,
        )
        for bits in args.bits
    }
    if args.table:
        table = RewardTable(args.table)
        problems[Path(args.table).stem] = lambda seed: table
    return problems


def tables(results: List[Result], num_masks: Sequence[int]) -> str:
    """Write the mean regret of each searcher, and the paired differences."""
    lines = []
    for problem in dict.fromkeys(entry['problem'] for entry in results):
        heads = [f'{number} masks'.rjust(15) for number in num_masks]
        lines += ['', f'Regret, {problem}'.ljust(38) + ''.join(heads)]
        regrets = _regrets(results, problem, num_masks)
        for searcher, by_seed in regrets.items():
            cells = [_summary(values) for values in zip(*by_seed.values())]
            lines.append(f'  {searcher:<24}{len(by_seed):>3} seeds   ' + ''.join(cells))
        optuna = [name for name in OPTUNA if name in regrets]
        if OURS in regrets and optuna:
            cells = []
            for index in range(len(num_masks)):
                name, differences = _against_best(regrets, optuna, index)
                cells.append(_summary(differences))
                cells[-1] += f' ({name}, {len(differences)})'
            lines.append(f'  {OURS} - best of Optuna'.ljust(38) + ''.join(cells))
    return '\n'.join(lines[1:])


def draw(results: List[Result], num_masks: Sequence[int]) -> Figure:
    """Draw the mean regrets with their standard errors, an axis for each problem."""
    problems = list(dict.fromkeys(entry['problem'] for entry in results))
    figure = Figure(figsize=(4 * len(problems) + 1, 3.4), layout='constrained')
    for ax, problem in zip(
        figure.subplots(1, len(problems), squeeze=False)[0], problems
    ):
        for searcher, by_seed in _regrets(results, problem, num_masks).items():
            columns = list(zip(*by_seed.values()))
            ax.errorbar(
                range(len(num_masks)),
                [statistics.mean(values) for values in columns],
                [_standard_error(values) for values in columns],
                label=searcher,
                marker='o',
                capsize=3,
            )
        ax.set_title(problem, fontsize='medium')
        ax.set(xlabel='distinct masks', ylim=(0, None))
        ax.set_xticks(range(len(num_masks)), num_masks)
        ax.spines[['top', 'right']].set_visible(False)
    figure.axes[0].set_ylabel('regret')
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside right center', frameon=False)
    return figure


def _regrets(
    results: List[Result], problem: str, num_masks: Sequence[int]
) -> Dict[str, Dict[int, List[float]]]:
    """Return the regrets by searcher and seed, of the runs with these numbers."""
    regrets: Dict[str, Dict[int, List[float]]] = {}
    for entry in results:
        if entry['problem'] == problem and entry['masks'] == list(num_masks):
            by_seed = regrets.setdefault(entry['searcher'], {})
            by_seed[entry['seed']] = entry['regret']
    return {name: regrets[name] for name in SEARCHERS if name in regrets}


def _against_best(
    regrets: Dict[str, Dict[int, List[float]]], names: Sequence[str], index: int
) -> Tuple[str, List[float]]:
    """Return the name of the best sampler, and our regret minus its, seed by seed."""

    def mean(name: str) -> float:
        return statistics.mean(regret[index] for regret in regrets[name].values())

    best = min(names, key=mean)
    seeds = regrets[OURS].keys() & regrets[best].keys()
    return best, [
        regrets[OURS][seed][index] - regrets[best][seed][index]
        for seed in sorted(seeds)
    ]


def _summary(values: Sequence[float]) -> str:
    mean = statistics.mean(values) if values else float('nan')
    return f'{mean:7.3f} ± {_standard_error(values):.3f}'


def _standard_error(values: Sequence[float]) -> float:
    if len(values) < 2:
        return float('nan')
    return statistics.stdev(values) / len(values) ** 0.5


def _bits(mask: Any) -> Tuple[int, ...]:
    return tuple(int(char) for char in str(mask) if char in '01')


def main() -> None:
    args = parse_args()
    results = run(args)
    print(tables(results, args.masks))
    if args.figure:
        draw(results, args.masks).savefig(args.figure, dpi=150)


if __name__ == '__main__':
    explain_errors(main)
