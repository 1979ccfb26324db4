"""Draw what a searcher thinks of each bit, over the steps of a search."""

from typing import Any, Dict, Mapping, Optional, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ean_mm.visualization.style import INK, UNKNOWN, WHITE_TO_PLUGGED, whole_numbers


def draw_probabilities(
    records: Sequence[Dict[str, Any]], stage_blocks: Mapping[str, Sequence[int]]
) -> Optional[Figure]:
    """Draw the probability of each bit over the steps of a search.

    Args:
        records: The search's history, one record a step.
        stage_blocks: For each masked module the number of blocks in each stage, in
            the order of the probabilities.

    Returns:
        A figure with one heat map a module, grey where a step has no probabilities;
        None if no step has them.
    """
    num_bits = sum(sum(blocks) for blocks in stage_blocks.values())
    values = np.full((num_bits, len(records)), np.nan)
    for column, record in enumerate(records):
        if _has_probabilities(record, num_bits):
            values[:, column] = record['probabilities']
    if np.isnan(values).all():
        return None
    steps = [record['step'] for record in records]
    edges = np.array([*steps, steps[-1] + 1]) - 0.5
    heights = [
        min(max(0.17 * sum(blocks), 1.8 / len(stage_blocks)), 14)
        for blocks in stage_blocks.values()
    ]
    figure = Figure(
        figsize=(10, sum(heights) + 0.4 * len(heights) + 0.7), layout='constrained'
    )
    axes = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, height_ratios=heights
    )[:, 0]
    start = 0
    for ax, (name, blocks) in zip(axes, stage_blocks.items()):
        end = start + sum(blocks)
        image = ax.pcolormesh(
            edges,
            np.arange(end - start + 1) - 0.5,
            values[start:end],
            cmap=WHITE_TO_PLUGGED,
            vmin=0,
            vmax=1,
            rasterized=True,
        )
        ax.set_facecolor(UNKNOWN)
        _label_blocks(ax, blocks)
        if len(stage_blocks) > 1:
            ax.set_title(name, loc='left', fontsize=10, color=INK)
        start = end
    axes[-1].set_xlabel('step of the search')
    axes[-1].xaxis.set_major_locator(whole_numbers())
    figure.colorbar(
        image,
        ax=list(axes),
        label='probability of attention',
        pad=0.01,
        aspect=8 * sum(heights),
    )
    return figure


def _has_probabilities(record: Mapping[str, Any], num_bits: int) -> bool:
    """Whether a step's record gives the probability of every bit."""
    values = record.get('probabilities')
    return (
        isinstance(values, list)
        and len(values) == num_bits
        and all(isinstance(value, (int, float)) for value in values)
    )


def _label_blocks(ax: Axes, stage_blocks: Sequence[int]) -> None:
    """Number the blocks within their stages, the first on top, and part the stages."""
    total = sum(stage_blocks)
    ends = np.cumsum(stage_blocks)
    numbers = [block for blocks in stage_blocks for block in range(1, blocks + 1)]
    shown = range(0, total, -(-total // 64))
    ax.set_yticks(shown, [str(numbers[index]) for index in shown], fontsize=8)
    ax.set_ylim(total - 0.5, -0.5)
    for stage, (end, blocks) in enumerate(zip(ends, stage_blocks), 1):
        ax.text(
            -0.035,
            end - blocks / 2 - 0.5,
            f'stage {stage}',
            transform=ax.get_yaxis_transform(),
            ha='right',
            va='center',
            fontsize=9,
            color=INK,
        )
        if end < total:
            ax.axhline(end - 0.5, color=INK, lw=1.2)
