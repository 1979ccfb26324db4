"""Draw what attention in each block brings."""

from itertools import groupby
from typing import Any, List, Sequence, Set, Tuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ean_mm.effects import Effects
from ean_mm.effects.words import unit
from ean_mm.visualization.style import INK, PLAIN, PLUGGED, UNKNOWN, tidy

# Blue and orange are told apart by all eyes; red is for what is plugged in.
VERDICTS = {
    1: ('#1f6fb4', 'interval above 0: attention helps'),
    -1: ('#e08214', 'interval below 0: it hurts'),
    0: (UNKNOWN, 'cannot tell'),
}
SHADE = '#f0f2f5'
BLOCKS_WITH_NUMBERS = 40
BLOCKS_AS_VECTORS = 400


def draw_effects(effects: Effects) -> Figure:
    """Draw a dot with its 95 % interval for each block, in the network's order.

    Stages are shaded in turn, and below the zero line's panel a strip of squares shows
    the recommended mask.

    Args:
        effects: What the mask file says.

    Returns:
        A figure of one panel.
    """
    number = len(effects.blocks)
    figure = Figure(figsize=(min(max(10, 0.2 * number), 20), 4.6), layout='constrained')
    ax = figure.subplots()
    verdicts = np.array([effects.verdict(block) for block in effects.blocks])
    points = np.array([(b.effect, b.low, b.high) for b in effects.blocks]).T
    size = 7.0 if number <= 20 else max(3.5, 7 * 20 / number)
    for verdict, (color, _) in VERDICTS.items():
        (chosen,) = np.nonzero(verdicts == verdict)
        effect, low, high = points[:, chosen]
        ax.errorbar(
            chosen,
            effect,
            [effect - low, high - effect],
            fmt='o',
            ms=size,
            color=color,
            mfc='white' if verdict == 0 else color,
            elinewidth=max(size / 3, 0.8),
            zorder=3,
            rasterized=number > BLOCKS_AS_VECTORS,
        )
    ax.axhline(0, color=INK, lw=1.2, zorder=2)
    low, high = min(0, points[1].min()), max(0, points[2].max())
    height = (high - low) or 1.0
    # Room for the strip of the mask below, and for the names of stages above.
    bottom, top = low - 0.16 * height, high + 0.14 * height
    ax.set_ylim(bottom, top)
    ax.set_xlim(-0.7, number - 0.3)
    _mark_stages(ax, effects, figure.get_figwidth() / number)
    _mark_mask(ax, effects, bottom + 0.06 * height, size)
    shown = range(0, number, -(-number // BLOCKS_WITH_NUMBERS))
    ax.set_xticks(shown, [str(effects.blocks[i].place[2]) for i in shown], fontsize=9)
    ax.set_xlabel('block within its stage, from input to output')
    where = '' if effects.budget else ' in the supernet'
    tidy(ax, ylabel=f'{unit(effects)}\nthat attention brings{where}')
    ax.tick_params(length=0)
    ax.spines['bottom'].set_visible(False)
    _legend(figure, effects, set(verdicts.tolist()))
    return figure


def _mark_stages(ax: Axes, effects: Effects, width: float) -> None:
    """Shade every other stage and name them; name modules if there are several.

    Args:
        ax: Axes to draw on.
        effects: The blocks.
        width: Inches that a block has.
    """
    text: Any = dict(
        transform=ax.get_xaxis_transform(), ha='center', fontsize=10, color=INK
    )
    stages = _spans([block.place[:2] for block in effects.blocks])
    for index, ((_, stage), first, last) in enumerate(stages):
        if index % 2 == 0:
            ax.axvspan(first - 0.5, last + 0.5, color=SHADE, zorder=0)
        narrow = (last + 1 - first) * width < 0.6
        name = f'{stage}' if narrow else f'stage {stage}'
        ax.text((first + last) / 2, 0.975, name, va='top', **text)
    modules = _spans([block.module for block in effects.blocks])
    for module, first, last in modules if len(modules) > 1 else []:
        centre = (first + last) / 2
        ax.text(centre, 1.01, module, va='bottom', fontweight='bold', **text)
        if first:
            ax.axvline(first - 0.5, color=INK, lw=1.2)


def _mark_mask(ax: Axes, effects: Effects, y: float, size: float) -> None:
    """Draw the recommended mask as a strip of squares, red where plugged in."""
    if not effects.masks:
        return
    plugged = np.array(effects.plugged())
    for chosen, face, edge in ((plugged, PLUGGED, PLUGGED), (~plugged, 'white', PLAIN)):
        (blocks,) = np.nonzero(chosen)
        heights = np.full(len(blocks), y)
        ax.plot(blocks, heights, 's', ms=1.4 * size, color=face, mec=edge, zorder=3)


def _legend(figure: Figure, effects: Effects, verdicts: Set[int]) -> None:
    handles: List[Artist] = []
    for verdict, (color, label) in VERDICTS.items():
        if verdict in verdicts:
            face = color if verdict else 'white'
            dot = Line2D([], [], marker='o', color=color, mfc=face, label=label)
            handles.append(dot)
    if effects.masks:
        handles.append(Patch(color=PLUGGED, label='plugged in by the recommended mask'))
    figure.legend(handles=handles, loc='outside upper center', ncols=4, frameon=False)


def _spans(names: Sequence[Any]) -> List[Tuple[Any, int, int]]:
    """Return each run of equal names with its first and last index."""
    spans = []
    for name, run in groupby(enumerate(names), key=lambda pair: pair[1]):
        indices = [index for index, _ in run]
        spans.append((name, indices[0], indices[-1]))
    return spans
