"""Draw what a search did."""

from typing import Any, Dict, List

import numpy as np
from matplotlib.figure import Figure

from ean_mm.effects.words import judged_how
from ean_mm.mask import Mask
from ean_mm.visualization.mask_plot import draw_mask
from ean_mm.visualization.style import INK, PLAIN, PLUGGED, WHITE_TO_PLUGGED


def draw_search(records: List[Dict[str, Any]], mask: Mask, attention: str) -> Figure:
    """Draw the found mask, the rewards and the policy of a search.

    Args:
        records: The search's history, one record a step.
        mask: The mask that it found.
        attention: Short name of the attention, as ``'SE'``.

    Returns:
        A figure to save.
    """
    steps = [record['step'] for record in records for _ in record['masks']]
    entries = [entry for record in records for entry in record['masks']]
    rewards = [entry['reward'] for entry in entries]
    how = judged_how([entry.get('budget') for entry in entries], 'accuracy')
    figure = Figure(figsize=(10, 7), layout='constrained')
    axes = figure.subplot_mosaic(
        [['mask', 'mask'], ['reward', 'policy']], height_ratios=[1, 1.6]
    )

    draw_mask(axes['mask'], mask, attention)
    axes['mask'].set_title(f'The mask found: {mask}', color=INK)

    axes['reward'].scatter(
        steps, rewards, s=8, color=PLAIN, label='masks drawn', zorder=1
    )
    axes['reward'].plot(
        [record['step'] for record in records],
        [record['best']['reward'] for record in records],
        color=PLUGGED,
        lw=2,
        label='best so far',
    )
    axes['reward'].plot(
        [record['step'] for record in records],
        _moving_mean(records),
        color=INK,
        lw=1.2,
        label='mean of 15 steps',
    )
    low, high = np.percentile(rewards, [2, 100])
    margin = 0.08 * (high - low) or 1.0
    axes['reward'].set(
        xlabel='step',
        ylabel='reward',
        title=f'Rewards {how}'.replace(', not', ',\nnot'),
        ylim=(low - margin, high + margin),
    )
    axes['reward'].legend(frameon=False, loc='lower right')
    axes['reward'].spines[['top', 'right']].set_visible(False)

    probabilities = np.array([record['probabilities'] for record in records]).T
    image = axes['policy'].imshow(
        probabilities,
        aspect='auto',
        cmap=WHITE_TO_PLUGGED,
        vmin=0,
        vmax=1,
        interpolation='nearest',
    )
    axes['policy'].set(
        xlabel='step',
        ylabel='block',
        title='Probability of each bit',
        yticks=range(len(probabilities)),
        yticklabels=_block_names(mask),
    )
    for end in np.cumsum(mask.stage_blocks)[:-1]:
        axes['policy'].axhline(end - 0.5, color=INK, lw=1)
    figure.colorbar(image, ax=axes['policy'], label='plugged in')
    return figure


def _moving_mean(records: List[Dict[str, Any]], width: int = 15) -> np.ndarray:
    means = [
        np.mean([entry['reward'] for entry in record['masks']]) for record in records
    ]
    return np.array(
        [np.mean(means[max(0, i - width + 1) : i + 1]) for i in range(len(means))]
    )


def _block_names(mask: Mask) -> List[str]:
    return [
        f'{stage}.{block}'
        for stage, blocks in enumerate(mask.stage_blocks, 1)
        for block in range(1, blocks + 1)
    ]
