"""Draw the pictures of docs/concepts.md."""

import argparse
from pathlib import Path
from typing import Sequence, Tuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ean_mm.launch import explain_errors
from ean_mm.visualization.style import INK, PLAIN, PLUGGED

MASKS = ('1010', '1011', '1100')
"""masks in the picture of their prefixes"""

Point = Tuple[float, float]


def box(ax: Axes, at: Point, text: str, edge: str = INK, face: str = 'white') -> None:
    """Write text into a rounded box, white on a box of the colour of attention."""
    color = 'white' if face == PLUGGED else INK
    style = dict(boxstyle='round,pad=0.45', facecolor=face, edgecolor=edge, lw=1.4)
    ax.text(*at, text, ha='center', va='center', fontsize=9, color=color, bbox=style)


def arrow(ax: Axes, points: Sequence[Point], color: str = INK) -> None:
    """Draw an arrow along points, below the boxes."""
    *way, last = points
    if len(way) > 1:
        ax.plot(*zip(*way), color=color, lw=1.3, zorder=0, solid_capstyle='round')
    style = dict(arrowstyle='-|>', color=color, lw=1.3, shrinkA=0, shrinkB=0)
    ax.annotate('', last, way[-1], arrowprops=style, zorder=0)


def draw_block(ax: Axes) -> None:
    """Draw a residual block, attention between its last norm layer and the addition."""
    for x, text in ((1.6, 'conv, norm,\nReLU'), (3.4, 'conv, norm,\nReLU')):
        box(ax, (x, 1), text)
    box(ax, (5.1, 1), 'conv,\nnorm')
    box(ax, (6.75, 1), 'attention\nif the bit is 1', PLUGGED, PLUGGED)
    for x, text in ((8.2, '+'), (9.1, 'ReLU')):
        box(ax, (x, 1), text)
    for left, right in ((0.1, 0.86), (2.34, 2.66), (4.14, 4.62), (5.58, 5.9)):
        arrow(ax, [(left, 1), (right, 1)])
    arrow(ax, [(7.6, 1), (8.0, 1)], PLUGGED)
    arrow(ax, [(8.4, 1), (8.72, 1)])
    arrow(ax, [(9.48, 1), (10.0, 1)])
    arrow(ax, [(0.4, 1), (0.4, 0.1), (8.2, 0.1), (8.2, 0.72)])
    ax.text(4.3, 0.17, 'shortcut', ha='center', fontsize=9, color=INK)
    ax.text(4.3, 1.55, 'residual branch', ha='center', fontsize=9, color=INK)
    ax.set(xlim=(0, 10.1), ylim=(-0.1, 1.8))


def draw_sharing(ax: Axes) -> None:
    """Draw a stage of six blocks with attention of three kinds."""
    rows = (
        ("share='block', mask='all'\n6 modules", 4.0, '111111', False),
        ("share='stage', mask='all'\n1 module", 2.0, '111111', True),
        ("share='stage', mask='010011'\n1 module in 3 blocks", 0.0, '010011', True),
    )
    for label, y, bits, shared in rows:
        ax.text(-0.2, y + 0.5, label, ha='right', va='center', fontsize=9, color=INK)
        for i, bit in enumerate(bits):
            plugged = bit == '1'
            if i:
                arrow(ax, [(i - 0.3, y), (i + 0.2, y)])
            if plugged:
                top = 3.0 if shared else i + 0.5
                ax.plot([top, i + 0.5], [y + 1, y], color=PLUGGED, lw=1.4, zorder=0)
            box(
                ax,
                (i + 0.5, y),
                bit,
                PLUGGED if plugged else PLAIN,
                'white' if plugged else PLAIN,
            )
            if plugged and not shared:
                box(ax, (i + 0.5, y + 1), 'A', PLUGGED, PLUGGED)
        if shared:
            box(ax, (3.0, y + 1), 'attention', PLUGGED, PLUGGED)
    ax.set(xlim=(-3.6, 6.2), ylim=(-0.5, 5.4))


def draw_search(ax: Axes) -> None:
    """Draw the three steps from a training set to a network."""
    box(ax, (1.2, 3.6), '1. supernet\na random mask\nfor every iteration')
    box(ax, (4.6, 3.6), 'shared weights')
    arrow(ax, [(2.35, 3.6), (3.75, 3.6)])
    box(ax, (1.2, 1.6), '2. searcher\n(RLController)', PLUGGED, PLUGGED)
    box(ax, (4.6, 1.6), 'network under\neach mask')
    box(ax, (7.9, 1.6), 'reward = metric (%)\n+ 2 x sparsity')
    arrow(ax, [(4.6, 3.3), (4.6, 2.05)])
    arrow(ax, [(2.2, 1.6), (3.75, 1.6)], PLUGGED)
    ax.text(2.95, 1.75, 'masks', ha='center', fontsize=9, color=PLUGGED)
    arrow(ax, [(5.45, 1.6), (6.75, 1.6)])
    ax.text(6.1, 1.75, 'reward\nimages', ha='center', fontsize=9, color=INK)
    arrow(ax, [(7.9, 1.15), (7.9, 0.7), (1.2, 0.7), (1.2, 1.15)], PLUGGED)
    ax.text(4.6, 0.78, 'rewards, 300 steps', ha='center', fontsize=9, color=PLUGGED)
    box(ax, (7.9, 3.6), '3. network with the\nbest mask, trained\nfrom scratch')
    arrow(ax, [(7.9, 2.05), (7.9, 2.98)])
    ax.text(8.0, 2.5, 'best mask', fontsize=9, color=INK, va='center')
    ax.set(xlim=(0, 9.3), ylim=(0.5, 4.3))


def draw_prefixes(ax: Axes) -> None:
    """Draw the residual branches that three masks of four blocks need."""
    depth = len(MASKS[0])
    names = [f'block {block + 1}' for block in range(depth)] + ['mask']
    for column, name in enumerate(names):
        ax.text(2 * column, 2.6, name, ha='center', fontsize=9, color=INK)
    heights = {}
    for block in range(depth, -1, -1):
        for prefix in sorted({mask[:block] for mask in MASKS}):
            below = [y for key, y in heights.items() if key[:-1] == prefix]
            own = 2 - MASKS.index(prefix) if block == depth else sum(below) / len(below)
            heights[prefix] = own
    for prefix, y in heights.items():
        x = 2 * len(prefix)
        users = sum(mask.startswith(prefix) for mask in MASKS)
        if prefix:
            start = heights[prefix[:-1]]
            ax.plot([x - 2, x], [start, y], color=INK, lw=1.2, zorder=0)
            middle = (x - 1, (start + y) / 2 + 0.12)
            ax.text(*middle, prefix[-1], ha='center', fontsize=9, color=PLUGGED)
        if len(prefix) == depth:
            box(ax, (x, y), prefix, PLUGGED)
        else:
            text = f'{users} masks' if users > 1 else '1 mask'
            box(ax, (x, y), text, INK, '#f6d9de' if users > 1 else 'white')
    ax.set(xlim=(-0.8, 8.8), ylim=(-0.5, 2.9))


PICTURES = dict(
    block=(draw_block, (8.2, 1.7)),
    sharing=(draw_sharing, (8.2, 4.2)),
    search_loop=(draw_search, (8.2, 3.5)),
    prefixes=(draw_prefixes, (8.2, 2.7)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', nargs='?', default='docs/images')
    args = parser.parse_args()
    for name, (draw, size) in PICTURES.items():
        figure = Figure(figsize=size, layout='constrained')
        ax = figure.subplots()
        ax.axis('off')
        draw(ax)
        path = Path(args.folder, f'{name}.png')
        figure.savefig(path, dpi=150)
        print(path)


if __name__ == '__main__':
    explain_errors(main)
