"""Draw what a bench of trained masks says."""

from typing import Any, Dict, List, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ean_mm.visualization.effects_plot import SHADE
from ean_mm.visualization.style import INK, PLAIN, PLUGGED, tidy
from studies.bench.analysis import Analysis

SMALL: Any = dict(textcoords='offset points', fontsize=8)
MARKED = {'none': INK, 'all': PLUGGED}


def draw_bench(found: Sequence[Analysis]) -> Figure:
    """Draw a row of three panels for each attention.

    What attention in each block brings, with 95 % intervals; the accuracies of all
    masks, no block and all blocks marked; and how well measures after each epoch rank
    masks.

    Args:
        found: What is known of each attention, at least one.
    """
    figure = Figure(figsize=(14, 3.2 * len(found)), layout='constrained')
    rows = figure.subplots(len(found), 3, squeeze=False)
    for (blocks, masks, ranks), own in zip(rows, found):
        _draw_blocks(blocks, own)
        _draw_masks(masks, own)
        _draw_ranks(ranks, own)
    return figure


def _draw_blocks(ax: Axes, own: Analysis) -> None:
    ax.set_title(f'{own.attention}: what attention in a block brings', fontsize=10)
    ax.set_xlabel('stage.block')
    tidy(ax, 'points of accuracy')
    if own.effects is None:
        return
    blocks = own.effects.blocks
    places = np.arange(len(blocks))
    effects = np.array([block.effect for block in blocks])
    lows, highs = (
        np.array([getattr(b, side) for b in blocks]) for side in ('low', 'high')
    )
    for place, block in enumerate(blocks):
        if block.stage % 2:
            ax.axvspan(place - 0.5, place + 0.5, color=SHADE, zorder=0, lw=0)
    ax.errorbar(places, effects, [effects - lows, highs - effects], fmt='o', color=INK)
    ax.axhline(0, color=PLAIN, lw=1)
    ax.set_xticks(places, [f'{block.stage}.{block.block}' for block in blocks])
    ax.set_xlim(-0.5, len(blocks) - 0.5)


def _draw_masks(ax: Axes, own: Analysis) -> None:
    values = sorted(own.masks.values())
    ax.set_title(f'{own.attention}: {len(values)} masks', fontsize=10)
    ax.set_xlabel('test accuracy, %')
    tidy(ax, 'masks')
    ax.hist(values, bins=min(40, 2 + len(values) // 4), color=PLAIN)
    for mask, value in own.masks.items():
        bits = set(mask) - {'-'}
        if len(bits) == 1:
            name = 'all' if bits == {'1'} else 'none'
            ax.axvline(value, color=MARKED[name], lw=2, label=f'{name}, {value:.1f}')
    noise = own.accuracy.noise
    if noise > 0:
        top = 0.97 * ax.get_ylim()[1]
        middle = float(np.median(values))
        ax.errorbar(middle, top, xerr=noise, color=INK, capsize=3, lw=1)
        ax.annotate('± noise', (middle + noise, top), (4, -3), **SMALL)
    ax.legend(frameon=False, fontsize=8)


def _draw_ranks(ax: Axes, own: Analysis) -> None:
    ax.set_title(f'{own.attention}: who leads early, and at the end', fontsize=10)
    ax.set_xlabel('epochs trained')
    tidy(ax, "Kendall's tau to the end")
    measures: List[str] = []
    styles: Dict[str, str] = {}
    for (measure, masks), taus in own.taus.items():
        if measure not in measures:
            measures.append(measure)
        style = styles.setdefault(masks, ('-', '--', ':')[len(styles) % 3])
        epochs = np.arange(1, len(taus) + 1)
        color = (PLUGGED, INK)[measures.index(measure) % 2]
        ax.plot(epochs, taus, style, color=color, label=f'{measure}, {masks}')
    ax.axhline(0, color=PLAIN, lw=1)
    if own.accuracy.noise > 0:
        ax.axhline(own.ceiling, color=PLAIN, lw=1, ls='--', label='ceiling by noise')
    if own.taus:
        ax.legend(frameon=False, fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5))
