"""The report of a bench: what differs between masks, and how far it can be known."""

import math
import statistics
from itertools import combinations
from typing import Dict, List, Optional, Sequence

import numpy as np
from scipy.stats import kendalltau

from studies.bench.analysis import FEWEST, Analysis
from studies.bench.order import STAGE_BLOCKS
from studies.report_text import machines, markdown_table
from studies.results import Row
from studies.table import read_mask

NONE, ALL = ('-'.join(bit * blocks for blocks in STAGE_BLOCKS) for bit in ('0', '1'))
SHARES = {1: 'single blocks', 2: 'pairs', 3: 'the rest'}


def bench_block(found: Dict[str, Analysis]) -> str:
    """Write what a bench says, all attentions together, as Markdown.

    Args:
        found: What is known of each attention, from any part of its bench.
    """
    if not found:
        return 'No mask has been trained yet.'
    parts = [
        _overview(found),
        _blocks(found),
        _ranks(found),
        *_between(found),
        _effort([row for own in found.values() for row in own.trainings.values()]),
    ]
    return '\n\n'.join(part for part in parts if part)


def _overview(found: Dict[str, Analysis]) -> str:
    head = [
        'attention',
        'masks',
        'trainings',
        'no block, %',
        'all blocks, %',
        'mean mask, %',
        'best measured',
        'spread',
        'noise',
        'spread / noise',
        *(f'explained by {name}' for name in SHARES.values()),
        'ceiling of tau',
    ]
    lines = []
    for name, own in found.items():
        spread = own.accuracy
        lines.append(
            [
                name,
                str(len(own.masks)),
                str(len(own.trainings)),
                _number(own.masks.get(NONE)),
                _number(own.masks.get(ALL)),
                _number(statistics.fmean(own.masks.values())),
                f'`{own.best}`, {own.masks[own.best]:.2f} %',
                _number(spread.spread),
                _number(spread.noise),
                _number(spread.ratio()),
                *(_percent(own.shares.get(order)) for order in SHARES),
                _number(own.ceiling),
            ]
        )
    return markdown_table(head, lines)


def _blocks(found: Dict[str, Analysis]) -> str:
    known = [own for own in found.values() if own.effects is not None]
    if not known:
        return ''
    most = max(STAGE_BLOCKS)
    head = ['attention', 'stage', *(f'block {n + 1}' for n in range(most)), 'together']
    lines, sentences = [], []
    for own in known:
        assert own.effects is not None
        for stage in range(1, len(STAGE_BLOCKS) + 1):
            blocks = [b for b in own.effects.blocks if b.stage == stage]
            cells = [f'{b.effect:+.2f} ({b.low:+.2f} to {b.high:+.2f})' for b in blocks]
            together = sum(block.effect for block in blocks)
            lines.append([own.attention, str(stage), *cells, f'{together:+.2f}'])
        pairs = ', '.join(
            f'{a[1]}.{a[2]} with {b[1]}.{b[2]} {pair.effect:+.2f}'
            for pair in own.effects.pairs[:3]
            for a, b in [pair.blocks]
        )
        best = own.effects.recommended
        assert best.over_none is not None and best.over_all is not None
        sentences.append(
            f'- {own.attention}: most is expected of `{own.recommended}`, '
            f'{best.over_none.gain:+.2f} ({best.over_none.low:+.2f} to '
            f'{best.over_none.high:+.2f}) points over no block, '
            f'{best.over_all.gain:+.2f} ({best.over_all.low:+.2f} to '
            f'{best.over_all.high:+.2f}) over all blocks. The strongest pairs, beyond '
            f'the sum of their blocks (stage.block): {pairs}.{_latency(own)}'
        )
    return (
        'What attention in a block brings, in points of test accuracy, the mean over '
        'all masks of the other blocks, with 95 % intervals:\n\n'
        f'{markdown_table(head, lines)}\n\n' + '\n'.join(sentences)
    )


def _latency(own: Analysis) -> str:
    """Say what attention adds to the latency, by all trainings' times."""
    bits = [sum(read_mask(job.mask).bits) for job in own.trainings]
    added = [
        100 * (row['latency'] / row['plain_latency'] - 1)
        for row in own.trainings.values()
    ]
    if len(set(bits)) < 2:
        return ''
    slope = np.polyfit(bits, added, 1)[0]
    return f' A block adds {slope:.1f} % to the latency of the deployed network.'


def _ranks(found: Dict[str, Analysis]) -> str:
    lines: List[List[str]] = []
    epochs: List[int] = []
    for own in found.values():
        for (measure, masks), taus in own.taus.items():
            epochs = _powers(len(taus))
            cells = [_number(taus[epoch - 1]) for epoch in epochs]
            lines.append([own.attention, measure, masks, *cells])
    if not lines:
        return ''
    head = ['attention', 'measure', 'masks', *map(str, epochs)]
    return (
        "Kendall's tau between a measure after so many epochs of the training with the "
        'first seed and the test accuracy at the end, the mean of all seeds of a mask '
        '(*other seeds*: the mean of the others, of the masks that have them):\n\n'
        f'{markdown_table(head, lines)}'
    )


def _powers(last: int) -> List[int]:
    """Return 1, 2, 4 and so on, and the last epoch."""
    return [*(2**n for n in range(last.bit_length()) if 2**n < last), last]


def _between(found: Dict[str, Analysis]) -> List[str]:
    sentences = []
    for one, other in combinations(found.values(), 2):
        masks = [mask for mask in one.masks if mask in other.masks]
        if len(masks) < FEWEST:
            continue
        tau = kendalltau(*([own.masks[m] for m in masks] for own in (one, other)))
        sentences.append(
            f'{one.attention} and {other.attention} order {len(masks)} masks with a '
            f"Kendall's tau of {tau.statistic:.2f}."
        )
        for a, b in ((one, other), (other, one)):
            mask = a.recommended
            share = None if mask is None else b.better_than(mask)
            if share is not None:
                sentences[-1] += (
                    f' The mask of which most is expected with {a.attention} is with '
                    f'{b.attention} better than {100 * share:.0f} % of the others.'
                )
    return sentences


def _effort(rows: Sequence[Row]) -> str:
    hours, cpu_hours = (
        sum(row[name] for row in rows) / 3600 for name in ('seconds', 'cpu_seconds')
    )
    epochs = len(rows[0]['test_accuracies'].split())
    diverged = sum('nan' in row['train_losses'] for row in rows)
    return (
        f'{f"{diverged} trainings diverged. " if diverged else ""}'
        f'{len(rows)} trainings of {epochs} epochs, {hours:.1f} hours, of the '
        f'processor {cpu_hours:.1f}, on {machines(rows)}. *Spread* is the '
        'standard deviation of the true means of the masks, *noise* that of one '
        'training, both in points; *explained* are shares of the squared spread, '
        'estimates that may fall below 0. The *ceiling* is the tau that true means '
        'would have to the measured ones.'
    )


def _number(value: Optional[float]) -> str:
    return '' if value is None or math.isnan(value) else f'{value:.2f}'


def _percent(value: Optional[float]) -> str:
    return '' if value is None else f'{100 * value:.0f} %'
