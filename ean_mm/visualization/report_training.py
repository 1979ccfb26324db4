"""The parts of the page of a search that say how its masks were judged."""

from html import escape
from typing import Optional, Sequence

from ean_mm.effects.words import judged_how
from ean_mm.visualization.report_html import figure_html, section
from ean_mm.visualization.report_masks import DrawnMask
from ean_mm.visualization.training_plot import LearningCurve, draw_curves


def metric_label(metric: str, budgets: Sequence[Optional[int]]) -> str:
    """Name a metric with what it was measured on, short enough for an axis.

    Args:
        metric: Name of the metric.
        budgets: Iterations that the masks were trained for, None for a supernet.
    """
    trained = sorted({budget for budget in budgets if budget is not None})
    if not trained:
        return f'{metric} in the supernet'
    if len(trained) > 1:
        return f'{metric} after the training'
    return f'{metric} after {trained[0]:,} iterations'


def judging_html(metric: str, budgets: Sequence[Optional[int]]) -> str:
    """Say in the head of the page what its numbers are of."""
    how = judged_how(budgets, metric)
    if any(budgets):
        text = f'Each mask was judged by training it: {metric} was measured {how}.'
        return f'<p class="status">{escape(text)}</p>'
    text = (
        f'Rewards and {metric} on this page were measured {how}: all masks share the '
        "supernet's weights. What a mask is worth is known once it is trained alone."
    )
    return f'<p class="caution">{escape(text)}</p>'


def curves_section(masks: Sequence[DrawnMask], best: DrawnMask, best_label: str) -> str:
    """Return the section of learning curves; '' without any.

    Args:
        masks: The masks of the search.
        best: The one to mark.
        best_label: What to call it.
    """
    curves = [
        LearningCurve(
            mask.curve, mask.budget, mask.diverged, _label(mask, best, best_label)
        )
        for mask in masks
        if mask.curve and mask.budget is not None
    ]
    if not curves:
        return ''
    diverged = sum(curve.diverged for curve in curves)
    caption = (
        f'The training losses of {len(curves)} masks; each value is the mean over a '
        'part of the training. Lower is better.'
    )
    if diverged:
        caption += f' {diverged} ended in a loss that is not finite.'
    return section(
        'Learning curves',
        figure_html(
            draw_curves(curves), 'Training losses of the masks over iterations', caption
        ),
    )


def _label(mask: DrawnMask, best: DrawnMask, best_label: str) -> str:
    if mask is best:
        return best_label
    return {0.0: 'attention everywhere', 1.0: 'no attention'}.get(mask.sparsity, '')
