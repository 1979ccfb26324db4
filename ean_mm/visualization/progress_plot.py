"""Draw the rewards of a search over its steps."""

import math
import textwrap
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ean_mm.visualization.style import INK, PLAIN, PLUGGED, tidy, whole_numbers


def draw_progress(
    records: Sequence[Dict[str, Any]], metric: str = 'metric', reward: str = 'reward'
) -> Figure:
    """Draw the rewards and metrics of a search over its steps.

    Args:
        records: The search's history, one record a step.
        metric: Name of the metric.
        reward: What to call the reward.

    Returns:
        A figure with the reward above the metric. In both, "best so far" is the mask
        with the best reward until then, whose metric need not be the highest. Where
        masks are trained, means and bests are of the longest training, and a mask
        that diverged is a cross at the bottom.
    """
    steps = [record['step'] for record in records]
    budgets = sorted({e.get('budget') or 0 for r in records for e in r['masks']})
    full = [
        [entry for entry in _sound(record) if (entry.get('budget') or 0) == budgets[-1]]
        for record in records
    ]
    best = _best_so_far(full)
    # A line of one point would not be seen.
    marker = 'o' if len(records) == 1 else ''
    figure = Figure(figsize=(10, 5.8), layout='constrained')
    axes = figure.subplots(2, 1, sharex=True)
    for ax, key, label in zip(axes, ('reward', 'metric'), (reward, f'{metric}, %')):
        for budget, color in zip(budgets, _shades(len(budgets))):
            points = [
                (record['step'], entry[key])
                for record in records
                for entry in _sound(record)
                if (entry.get('budget') or 0) == budget
            ]
            ax.scatter(
                [step for step, _ in points],
                [value for _, value in points],
                s=9,
                color=color,
                label=f'masks after {budget:,} iterations'
                if len(budgets) > 1
                else 'masks drawn',
                rasterized=len(records) > 200,  # for a page of some 100 kB
            )
        ax.plot(
            steps,
            [_mean([entry[key] for entry in entries]) for entries in full],
            color=INK,
            lw=1,
            marker=marker,
            label="mean of the step's masks",
        )
        ax.plot(
            steps,
            [math.nan if entry is None else entry[key] for entry in best],
            color=PLUGGED,
            lw=2,
            marker=marker,
            drawstyle='steps-post',
            label='mask with the best reward so far',
        )
        diverged = [r['step'] for r in records if len(_sound(r)) < len(r['masks'])]
        if diverged:
            ax.scatter(
                diverged,
                [0.02] * len(diverged),
                marker='x',
                color=INK,
                transform=ax.get_xaxis_transform(),
                label='training diverged',
            )
        tidy(ax, ylabel=textwrap.fill(label, 20))
        room = max(0.5, 0.01 * (steps[-1] - steps[0]))
        ax.set_xlim(steps[0] - room, steps[-1] + room)
    axes[-1].set_xlabel('step of the search')
    axes[-1].xaxis.set_major_locator(whole_numbers())
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc='outside upper center',
        ncols=3,
        frameon=False,
        markerscale=1.5,
    )
    return figure


def _sound(record: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """The entries of a record whose training did not diverge."""
    return [entry for entry in record['masks'] if not entry.get('diverged')]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _shades(number: int) -> List[Any]:
    """Colours from light to dark; a single one is light."""
    if number == 1:
        return [PLAIN]
    return [(*to_rgb(INK), alpha) for alpha in np.linspace(0.2, 0.6, number)]


def _best_so_far(
    steps: Sequence[Sequence[Dict[str, Any]]],
) -> List[Optional[Dict[str, Any]]]:
    """For each step the entry with the best reward until then; of equals the first."""
    best: List[Optional[Dict[str, Any]]] = []
    for entries in steps:
        known = [entry for entry in best[-1:] if entry is not None] + list(entries)
        best.append(max(known, key=lambda entry: entry['reward'], default=None))
    return best
