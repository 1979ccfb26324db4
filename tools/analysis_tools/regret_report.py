"""Regrets of searchers as a table and as a picture."""

import statistics
from typing import Dict, Iterable, List, Optional, Sequence

from matplotlib.figure import Figure

Regrets = Dict[str, Dict[str, Dict[int, List[float]]]]
"""of each problem, searcher and cost: one for each seed"""


def regret_table(
    regrets: Regrets,
    searchers: Iterable[str],
    unit: str,
    last: Optional[Dict[str, List[str]]] = None,
) -> str:
    """Write the mean regrets with their standard errors, as Markdown.

    Args:
        regrets: The regrets.
        searchers: The searchers in the order of their lines.
        unit: What costs are counted in, as ``'trainings'``.
        last: The cells of a line to end a problem's part with, by the problem.
    """
    searchers = list(searchers)
    costs = costs_of(regrets)
    heads = [f'{cost} {unit}' for cost in costs]
    lines = [['regret at a cost of', *heads], ['---'] * (len(costs) + 1)]
    for problem, by_searcher in regrets.items():
        lines.append([f'**{problem}**', *[''] * len(costs)])
        for searcher in filter(by_searcher.get, searchers):
            by_cost = by_searcher[searcher]
            cells = [mean_and_error(by_cost.get(cost, [])) for cost in costs]
            lines.append([searcher, *cells])
        if last and problem in last:
            lines.append(last[problem])
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def draw_regrets(regrets: Regrets, searchers: Iterable[str], cost: str) -> Figure:
    """Draw the mean regrets with their standard errors, an axis for each problem.

    Args:
        regrets: The regrets.
        searchers: The searchers in the order of their colours.
        cost: Name of the cost.
    """
    colors = {searcher: f'C{place}' for place, searcher in enumerate(searchers)}
    costs = costs_of(regrets)
    rows = -(-len(regrets) // 4)
    columns = -(-len(regrets) // rows)
    figure = Figure(figsize=(3.4 * columns + 2, 2.9 * rows), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(regrets) :]:
        ax.set_visible(False)
    for ax, (problem, by_searcher) in zip(axes, regrets.items()):
        for searcher in filter(by_searcher.get, colors):
            by_cost = by_searcher[searcher]
            known = {i: by_cost[c] for i, c in enumerate(costs) if c in by_cost}
            ax.errorbar(
                list(known),
                [statistics.mean(values) for values in known.values()],
                [standard_error(values) for values in known.values()],
                label=searcher,
                color=colors[searcher],
                marker='o',
                capsize=3,
            )
        ax.set_title(problem, fontsize='medium')
        ax.set(xlabel=cost, ylim=(0, None))
        ax.set_xticks(range(len(costs)), costs)
        ax.spines[['top', 'right']].set_visible(False)
    axes[0].set_ylabel('regret, points')
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside right center', frameon=False)
    return figure


def costs_of(regrets: Regrets) -> List[int]:
    """Return the costs that there are regrets of, in ascending order."""
    return sorted(
        {
            cost
            for by_searcher in regrets.values()
            for by_cost in by_searcher.values()
            for cost in by_cost
        }
    )


def mean_and_error(values: Sequence[float]) -> str:
    """Write a mean with its standard error; nothing where there are no values."""
    if not values:
        return ''
    return f'{statistics.mean(values):.3f} ± {standard_error(values):.3f}'


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of a mean, NaN for that of a single value."""
    if len(values) < 2:
        return float('nan')
    return statistics.stdev(values) / len(values) ** 0.5
