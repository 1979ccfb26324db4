"""The figures of a search, drawn from what was read of it."""

from typing import Dict, Optional, Sequence

from matplotlib.figure import Figure

from ean_mm.mask import Mask
from ean_mm.visualization.effects_plot import draw_effects
from ean_mm.visualization.mask_plot import draw_masks
from ean_mm.visualization.probability_plot import draw_probabilities
from ean_mm.visualization.progress_plot import draw_progress
from ean_mm.visualization.report.reading import Search
from ean_mm.visualization.trade_off_plot import draw_trade_off
from ean_mm.visualization.training_plot import LearningCurve, draw_curves

REFERENCES = {0.0: 'attention everywhere', 1.0: 'no attention'}
"""masks to compare others with, by their sparsity"""


def draw_figures(search: Search) -> Dict[str, Figure]:
    """Draw what there is to draw.

    Returns:
        Always ``'best'``, ``'progress'`` and ``'trade_off'``; where something is known
        of it, ``'effects'``, ``'curves'`` and ``'probabilities'``.
    """
    figures: Dict[str, Optional[Figure]] = dict(
        effects=draw_effects(search.effects) if search.effects else None,
        best=draw_masks(
            {
                name: Mask(
                    Mask.parse(bits, search.stage_blocks[name]).bits,
                    search.stage_blocks[name],
                    search.space.get(name, {}),  # with the names of the blocks
                )
                for name, bits in search.best.masks.items()
            },
            {name: search.attention(name) for name in search.stage_blocks},
        ),
        progress=draw_progress(
            search.records,
            _metric_label(search.metric, search.budgets),
            'reward' if search.budgets else 'reward in the supernet',
        ),
        curves=_curves(search),
        probabilities=draw_probabilities(search.records, search.stage_blocks),
        trade_off=_trade_off(search),
    )
    return {name: figure for name, figure in figures.items() if figure is not None}


def cost_label(search: Search) -> str:
    """Name what masks cost: attention in blocks, or what the reward counts."""
    if search.cost is None:
        return f'blocks with attention (of {search.num_blocks})'
    return f'{search.cost}, %'


def _metric_label(metric: str, budgets: Sequence[int]) -> str:
    """Name a metric with what it was measured on, short enough for an axis.

    Args:
        metric: Name of the metric.
        budgets: Iterations that the masks were trained for; none for a supernet.
    """
    if not budgets:
        return f'{metric} in the supernet'
    if len(budgets) > 1:
        return f'{metric} after the training'
    return f'{metric} after {budgets[0]:,} iterations'


def _curves(search: Search) -> Optional[Figure]:
    curves = [
        LearningCurve(
            mask.curve,
            mask.budget,
            mask.diverged,
            REFERENCES.get(mask.sparsity, '')
            if mask is not search.best
            else search.best_label,
        )
        for mask in search.drawn
        if mask.curve and mask.budget is not None
    ]
    return draw_curves(curves) if curves else None


def _trade_off(search: Search) -> Figure:
    masks = search.fully_judged
    if search.cost is None:
        costs: Sequence[float] = [mask.num_connections for mask in masks]
    else:
        costs = [mask.cost for mask in masks if mask.cost is not None]
    return draw_trade_off(
        costs,
        [mask.metric for mask in masks],
        masks.index(search.best),
        cost_label(search),
        f'{_metric_label(search.metric, search.budgets[-1:])}, %',
        search.best_label,
    )
