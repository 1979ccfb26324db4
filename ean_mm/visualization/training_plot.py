"""Draw how the losses of masks fell while they were trained."""

from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ean_mm.visualization.style import INK, PLAIN, PLUGGED, tidy


class LearningCurve(NamedTuple):
    """The training losses of a mask."""

    losses: Sequence[float]
    """means over equal parts of the training, the last of which may be missing"""
    budget: int
    """iterations of the training"""
    diverged: bool
    label: str
    """what to call the mask, '' for one among many"""


OTHER = dict(color=PLAIN, lw=1.0)
CHOSEN = dict(color=PLUGGED, lw=2.4)
REFERENCES: Dict[str, Dict[str, Any]] = {
    'no attention': dict(color=INK, lw=1.6, ls='--'),
    'attention everywhere': dict(color=INK, lw=1.8, ls=':'),
}


def draw_curves(curves: Sequence[LearningCurve]) -> Figure:
    """Draw the training losses of masks over the iterations.

    Args:
        curves: The curves; those with a label are drawn over the others.

    Returns:
        A figure with a logarithmic scale where all losses are above 0. A cross is the
        end of a training that diverged.
    """
    figure = Figure(figsize=(10, 4.8), layout='constrained')
    ax = figure.subplots()
    sound: List[float] = []
    labelled = set()
    ends: List[Tuple[float, float]] = []
    longest = max(curve.budget for curve in curves)
    points = max(len(c.losses) for c in curves if c.budget == longest)
    for curve in sorted(curves, key=lambda curve: bool(curve.label)):
        # A training that was cut off has fewer parts, not longer ones.
        length = min(curve.budget / len(curve.losses), longest / points)
        middles = [(part + 0.5) * length for part in range(len(curve.losses))]
        label = curve.label or 'other masks'
        style = REFERENCES.get(label, CHOSEN if curve.label else OTHER)
        ax.plot(
            middles,
            curve.losses,
            marker='o' if len(middles) == 1 else '',
            ms=4,
            label='' if label in labelled else label,
            rasterized=not curve.label and len(curves) > 200,
            **style,
        )
        labelled.add(label)
        if curve.diverged:
            ends.append((middles[-1], curve.losses[-1]))
        else:
            sound += curve.losses
    if sound:
        # A diverging training would leave the others no height.
        low, high = min(sound), max(sound)
        if low > 0:
            ax.set_yscale('log')
            ax.set_ylim(low / 1.05, high * 1.05)
            if high < 30 * low:  # powers of ten would be too few
                ax.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
            ax.yaxis.set_major_formatter('{x:g}')
            ax.minorticks_off()
        else:
            margin = 0.05 * (high - low) or 1.0
            ax.set_ylim(low - margin, high + margin)
    if ends:
        iterations, losses = zip(*ends)
        ax.plot(
            iterations,
            np.clip(losses, *ax.get_ylim()),
            'x',
            color=INK,
            clip_on=False,
            label='training diverged',
        )
    ax.set_xlim(left=0)
    ax.set_xlabel('iterations of training')
    tidy(ax, ylabel='training loss')
    figure.legend(loc='outside upper center', ncols=5, frameon=False)
    return figure
