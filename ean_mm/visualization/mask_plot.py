"""Draw a mask on its network."""

from itertools import chain
from typing import Any, Iterator, List, Mapping, Tuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from ean_mm.mask import Mask
from ean_mm.visualization.style import INK, PLAIN, PLUGGED

BLOCKS_PER_ROW = 20
LONGEST_ROW = 24
"""blocks of a stage that still has a row to itself; a longer one is broken"""
LONGEST_NAME = 40
"""of a block, in characters"""
BLOCK_WIDTH = 0.78
"""of the distance between blocks"""
STAGE_GAP = 0.7
"""that much further are the blocks of another stage"""
INCHES = 0.56
"""from block to block, which is the unit of both axes"""
NAME_SIZE = 7
"""of the names of blocks, in points"""

# Colours of boxes: face, edge and text, without and with attention.
BLOCKS = ((PLAIN, PLAIN, INK), ('white', PLUGGED, PLUGGED))
MODULES = (('white', PLAIN, PLAIN), (PLUGGED, PLUGGED, 'white'))


def draw_mask(
    ax: Axes, mask: Mask, attention: str = 'attention', first_stage: int = 1
) -> None:
    """Draw the residual blocks in a row, each stage's attention module above them.

    A line joins the module to every block that it is plugged into. Below the blocks
    stand their names in the network, if the mask has them (:attr:`Mask.block_names`).

    Args:
        ax: Axes to draw on; their frame is taken away.
        mask: The mask.
        attention: What to write in the attention modules.
        first_stage: Number of the mask's first stage in the network.
    """
    blocks: List[float] = []  # the left edge of each
    start = 0.0
    depth = _depth_of_names(mask)
    names = chain(*_short_names(mask))
    for number, stage in enumerate(mask.stages, first_stage):
        lefts = [start + index for index in range(len(stage))]
        centre = (start + lefts[-1] + BLOCK_WIDTH) / 2
        # clear of the neighbours' modules
        width = min(1.9, lefts[-1] + BLOCK_WIDTH - start + STAGE_GAP - 0.2)
        colors = MODULES[any(stage)]
        _box(ax, centre - width / 2, 1.75, width, 0.5, attention, 8, colors)
        for left, bit in zip(lefts, stage):
            _box(ax, left, 0, BLOCK_WIDTH, 0.8, str(bit), 9, BLOCKS[bit])
            if bit:
                joined = [centre, left + BLOCK_WIDTH / 2]
                ax.plot(joined, [1.75, 0.8], color=PLUGGED, lw=1.6, zorder=0)
        below: Any = dict(ha='center', va='top', color=INK, parse_math=False)
        ax.text(centre, -0.3 - depth, f'stage {number}', fontsize=9, **below)
        for left, name in zip(lefts, names):
            middle = left + BLOCK_WIDTH / 2
            ax.text(middle, -0.15, name, fontsize=NAME_SIZE, rotation=90, **below)
        blocks += lefts
        start = lefts[-1] + 1 + STAGE_GAP
    for left, following in zip(blocks, blocks[1:]):
        joined = [left + BLOCK_WIDTH, following]
        ax.plot(joined, [0.4, 0.4], color=INK, lw=1, zorder=0)
    ax.set_xlim(-0.4, blocks[-1] + BLOCK_WIDTH + 0.4)
    ax.set_ylim(-0.9 - depth, 2.5)
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
    heights = [3.4 + _depth_of_names(row) for _, _, row in rows]
    figure = Figure(layout='constrained')
    axes = figure.subplots(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
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
    figure.set_size_inches(
        max(INCHES * (right - left), 4), INCHES * sum(heights) + titles
    )
    return figure


def _short_names(mask: Mask) -> List[List[str]]:
    """The names of each stage's blocks, long ones without their beginning."""
    return [
        [
            name if len(name) <= LONGEST_NAME else f'…{name[1 - LONGEST_NAME :]}'
            for name in names
        ]
        for names in mask.block_names
    ]


def _depth_of_names(mask: Mask) -> float:
    """How far the names of the blocks reach down, about."""
    longest = max(map(len, chain(*_short_names(mask))), default=0)
    return longest * 0.6 * NAME_SIZE / 72 / INCHES


def _box(
    ax: Axes,
    left: float,
    bottom: float,
    width: float,
    height: float,
    text: str,
    size: int,
    colors: Tuple[str, str, str],
) -> None:
    """Draw a box with a text in its middle."""
    face, edge, ink = colors
    box = FancyBboxPatch(
        (left, bottom), width, height, boxstyle='round,pad=0,rounding_size=0.12'
    )
    box.set(facecolor=face, edgecolor=edge, linewidth=1.6)
    ax.add_patch(box)
    middle = left + width / 2, bottom + height / 2
    ax.text(*middle, text, ha='center', va='center', fontsize=size, color=ink)


def _rows_of_stages(mask: Mask) -> List[Tuple[int, Mask]]:
    """Break a mask between stages; return each row's first stage and its part."""
    rows: List[Tuple[int, List[Mask]]] = []
    for number, part in _parts_of_stages(mask):
        if rows and sum(len(p.bits) for p in rows[-1][1]) + len(part.bits) <= (
            BLOCKS_PER_ROW
        ):
            rows[-1][1].append(part)
        else:
            rows.append((number, [part]))
    return [
        (
            first,
            Mask(
                tuple(chain(*(part.bits for part in parts))),
                tuple(len(part.bits) for part in parts),
                dict(blocks=[part.block_names[0] for part in parts]),
            ),
        )
        for first, parts in rows
    ]


def _parts_of_stages(mask: Mask) -> Iterator[Tuple[int, Mask]]:
    """Yield each stage with its number, a very long one in parts of equal length."""
    for number, (stage, names) in enumerate(zip(mask.stages, mask.block_names), 1):
        count = 1 if len(stage) <= LONGEST_ROW else -(-len(stage) // BLOCKS_PER_ROW)
        length = -(-len(stage) // count)
        for start in range(0, len(stage), length):
            bits = stage[start : start + length]
            blocks = names[start : start + length]
            yield number, Mask(bits, (len(bits),), dict(blocks=[blocks]))
