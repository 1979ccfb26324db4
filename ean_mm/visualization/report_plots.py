"""The figures of a search report."""

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ean_mm.mask import Mask
from ean_mm.visualization.mask_plot import INK, PLAIN, PLUGGED, draw_mask
from ean_mm.visualization.search_plot import WHITE_TO_PLUGGED

BLOCKS_PER_ROW = 20
UNKNOWN = '#8d96a3'


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


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> List[int]:
    """Find the points that no other point beats.

    Args:
        costs: What each point costs; less is better.
        values: What each point is worth; more is better.

    Returns:
        Indices of the front, by rising cost: each is worth more than all that cost as
        much or less. Of equal points the first counts.
    """
    front: List[int] = []
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], -values[i], i)):
        if not front or values[index] > values[front[-1]]:
            front.append(index)
    return front


def draw_trade_off(
    costs: Sequence[float],
    metrics: Sequence[float],
    marked: int,
    cost_label: str,
    metric_label: str,
    label: str = 'chosen mask',
) -> Figure:
    """Draw all evaluated masks in the plane of cost and metric.

    Args:
        costs: What each mask costs, as its number of blocks with attention.
        metrics: For each mask the metric.
        marked: Index of the mask to mark.
        cost_label: What the costs are.
        metric_label: What the metrics are.
        label: What to call the marked mask.

    Returns:
        A figure with the Pareto front drawn through the masks.
    """
    front = pareto_front(costs, metrics)
    figure = Figure(figsize=(10, 4.8), layout='constrained')
    ax = figure.subplots()
    ax.scatter(costs, metrics, s=22, color=PLAIN, label='masks evaluated')
    ax.plot(
        [costs[index] for index in front],
        [metrics[index] for index in front],
        color=INK,
        lw=1.2,
        marker='o',
        ms=5,
        drawstyle='steps-post',
        label='Pareto front',
    )
    ax.scatter(
        [costs[marked]],
        [metrics[marked]],
        s=130,
        marker='D',
        color=PLUGGED,
        edgecolors='white',
        zorder=3,
        label=label,
    )
    tidy(ax, ylabel=metric_label)
    ax.set_xlabel(cost_label)
    if all(float(cost).is_integer() for cost in costs):
        ax.xaxis.set_major_locator(whole_numbers())
    ax.margins(x=0.06, y=0.1)
    figure.legend(loc='outside upper center', ncols=3, frameon=False)
    return figure


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
        draw_mask(ax, row, attention[name])
        _renumber_stages(ax, first)
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


def _renumber_stages(ax: Axes, first: int) -> None:
    """Let a row's stages count on from the rows above."""
    labels = [text for text in ax.texts if text.get_text().startswith('stage ')]
    for number, text in enumerate(labels, first):
        text.set_text(f'stage {number}')


def whole_numbers() -> MaxNLocator:
    """Return a locator of few ticks, all at whole numbers."""
    return MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)


def tidy(ax: Axes, ylabel: str) -> None:
    """Name the values of axes and take away what only frames them."""
    ax.set_ylabel(ylabel)
    ax.spines[['top', 'right']].set_visible(False)
    ax.grid(axis='y', color=PLAIN, lw=0.5, alpha=0.6)
    ax.set_axisbelow(True)
