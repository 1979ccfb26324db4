"""Draw a mask on its network."""

from typing import List, Mapping, Tuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from ean_mm.mask import Mask
from ean_mm.visualization.style import INK, PLAIN, PLUGGED

BLOCKS_PER_ROW = 20


def draw_mask(
    ax: Axes, mask: Mask, attention: str = 'attention', first_stage: int = 1
) -> None:
    """Draw the residual blocks in a row, each stage's attention module above them.

    A line joins the module to every block that it is plugged into.

    Args:
        ax: Axes to draw on; their frame is taken away.
        mask: The mask.
        attention: What to write in the attention modules.
        first_stage: Number of the mask's first stage in the network.
    """
    width, gap = 0.78, 0.7
    x = end = 0.0
    for number, stage in enumerate(mask.stages, first_stage):
        left, right = x, x + len(stage) - 1 + width
        centre = (left + right) / 2
        plugged = any(stage)
        module = min(1.9, right - left + gap - 0.2)  # clear of the neighbours'
        _box(
            ax,
            centre - module / 2,
            1.75,
            module,
            0.5,
            PLUGGED if plugged else 'white',
            edge=PLUGGED if plugged else PLAIN,
        )
        ax.text(
            centre,
            2.0,
            attention,
            ha='center',
            va='center',
            fontsize=8,
            color='white' if plugged else PLAIN,
        )
        for index, bit in enumerate(stage):
            middle = x + width / 2
            if bit:
                ax.plot([centre, middle], [1.75, 0.8], color=PLUGGED, lw=1.6, zorder=0)
            _box(
                ax,
                x,
                0,
                width,
                0.8,
                'white' if bit else PLAIN,
                edge=PLUGGED if bit else PLAIN,
            )
            ax.text(
                middle,
                0.4,
                str(bit),
                ha='center',
                va='center',
                fontsize=9,
                color=PLUGGED if bit else INK,
            )
            if x > 0:
                ax.plot([end, x], [0.4, 0.4], color=INK, lw=1, zorder=0)
            end = x + width
            x += 1.0 if index < len(stage) - 1 else 1.0 + gap
        ax.text(
            centre,
            -0.3,
            f'stage {number}',
            ha='center',
            va='top',
            fontsize=9,
            color=INK,
        )
    ax.set_xlim(-0.4, right + 0.4)
    ax.set_ylim(-0.9, 2.5)
    ax.axis('off')


def draw_masks(masks: Mapping[str, Mask], attention: Mapping[str, str]) -> Figure:
    """Draw one mask a module; long networks go over several rows.

    Args:
        masks: The mask of each module.
        attention: For each module what to write in the attention modules.

    Returns:
        A figure, all blocks drawn in the same size.
    """
    rows = [
        (name, first, row)
        for name, mask in masks.items()
        for first, row in _rows_of_stages(mask)
    ]
    figure = Figure(layout='constrained')
    axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for ax, (name, first, row) in zip(axes, rows):
        draw_mask(ax, row, attention[name], first)
        if len(masks) > 1 and first == 1:
            ax.set_title(name, loc='left', fontsize=10, color=INK)
    # Half a block of room for the attention of stages with a single block.
    left = -0.6
    right = max(ax.get_xlim()[1] for ax in axes) + 0.3
    for ax in axes:
        ax.set_xlim(left, right)
    titles = 0.3 * len(masks) if len(masks) > 1 else 0
    figure.set_size_inches(max(0.56 * (right - left), 4), 1.9 * len(rows) + titles)
    return figure


def _box(
    ax: Axes, x: float, y: float, width: float, height: float, face: str, edge: str
) -> None:
    ax.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle='round,pad=0,rounding_size=0.12',
            facecolor=face,
            edgecolor=edge,
            linewidth=1.6,
        )
    )


def _rows_of_stages(mask: Mask) -> List[Tuple[int, Mask]]:
    """Break a mask between stages; yield each row's first stage and its part."""
    rows: List[List[Tuple[int, ...]]] = []
    for stage in mask.stages:
        if rows and sum(map(len, rows[-1])) + len(stage) <= BLOCKS_PER_ROW:
            rows[-1].append(stage)
        else:
            rows.append([stage])
    parts, first = [], 1
    for row in rows:
        bits = tuple(bit for stage in row for bit in stage)
        parts.append((first, Mask(bits, tuple(map(len, row)))))
        first += len(row)
    return parts
