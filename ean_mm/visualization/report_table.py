"""The table of masks on the page of a search."""

import re
from html import escape
from typing import Dict, Optional, Sequence

from ean_mm.visualization.report_html import clean, section
from ean_mm.visualization.report_masks import DrawnMask
from ean_mm.visualization.report_training import metric_label

MASKS_IN_TABLE = 10


def table_section(
    masks: Sequence[DrawnMask], best: DrawnMask, metric: str, cost: Optional[str]
) -> str:
    """Return the section that ranks the masks.

    Masks that were trained for longer come first, those that diverged last.

    Args:
        masks: The masks of the search.
        best: The one to mark; it is listed whatever its rank.
        metric: Name of the metric.
        cost: What to call the cost of the masks, None if they have none.
    """
    budgets = [mask.budget for mask in masks if mask.budget is not None]
    ranked = sorted(
        masks,
        key=lambda mask: (mask.diverged, -(mask.budget or 0), -mask.reward),
    )
    shown = [
        (rank, mask)
        for rank, mask in enumerate(ranked, 1)
        if rank <= MASKS_IN_TABLE or mask is best
    ]
    if not budgets:
        metric = metric_label(metric, [])
    columns = ['', 'mask', 'reward', f'{metric}, %', 'sparsity', 'first drawn',
               'times drawn']  # fmt: skip
    if cost is not None:
        columns.insert(5, f'{cost}, %')
    if budgets:
        columns.insert(2, 'iterations of training')
    head = ''.join(f'<th>{escape(column)}</th>' for column in columns)
    rows = []
    for rank, mask in shown:
        diverged = ' <em class="diverged">diverged</em>' if mask.diverged else ''
        cells = [
            str(rank),
            f'{mask_html(mask.masks)}{diverged}',
            f'{mask.reward:.2f}',
            f'{mask.metric:.2f}',
            f'{100 * mask.sparsity:.1f} %',
            f'step {mask.first_step}',
            str(mask.times_drawn),
        ]
        if cost is not None:
            cells.insert(5, f'{mask.cost:.2f}')
        if budgets:
            cells.insert(2, f'{mask.budget:,}')
        kind = ' class="best"' if mask is best else ''
        rows.append(f'<tr{kind}>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
    number = min(len(ranked), MASKS_IN_TABLE)
    diverged_masks = [mask for mask in masks if mask.diverged]
    note = ''
    if diverged_masks:
        note = (
            f'\n<p>{len(diverged_masks)} of the {len(ranked)} masks diverged in '
            'training and come last.</p>'
        )
    return section(
        'The only mask' if number == 1 else f'The best {number} masks',
        f'<div class="scroll"><table>\n<tr>{head}</tr>\n'
        + '\n'.join(rows)
        + f'\n</table></div>{note}',
    )


def mask_html(masks: Dict[str, str]) -> str:
    """Write the bits with the connected blocks in colour, one line a module."""
    lines = []
    for name, bits in masks.items():
        marked = re.sub('1+', r'<b>\g<0></b>', re.sub('0+', r'<i>\g<0></i>', bits))
        prefix = f'{escape(clean(name))} ' if len(masks) > 1 else ''
        lines.append(f'{prefix}<code>{marked}</code>')
    return '<br>'.join(lines)
