"""Effects in words, the same in the terminal, in the log and on the page."""

from itertools import groupby
from typing import List, Optional, Sequence, Tuple

from ean_mm.effects.effects import Effects, Place

LONGEST_LIST = 8
"""blocks, or blocks in a row, that a sentence names; more are only counted"""
ITSELF = 'the mask itself'
EXPLAINED = ((0.8, 'nearly all'), (0.5, 'most'), (0.2, 'a part'), (0.05, 'little'))


def headline(effects: Effects) -> str:
    """Say where attention helps and where it hurts."""
    judged = _judgements(effects)
    supernet = effects.budget is None
    if not effects.tells_apart:
        verb = 'does' if effects.judgements == 1 else 'do'
        where = ' in a supernet' if supernet else ''
        return _sentence(
            f'{judged}{where} {verb} not tell the blocks apart: what follows may be '
            'chance'
        )
    helps, hurts, unsure = (
        [block.place for block in effects.blocks if effects.verdict(block) == verdict]
        for verdict in (1, -1, 0)
    )
    parts = []
    if helps:
        parts.append(f'attention helps in {_named(helps, effects)}')
    if hurts:
        subject = 'it' if helps else 'attention'
        parts.append(f'{subject} hurts in {_named(hurts, effects)}')
    if unsure:
        which = 'the other' if parts else 'all'
        blocks = f'{which} {len(unsure)} blocks'
        if len(unsure) == 1:
            blocks = f'{which} block' if parts else 'the only block'
        parts.append(f'for {blocks}, {judged} cannot tell')
    return _sentence(('in the supernet, ' if supernet else '') + '; '.join(parts))


def unit(effects: Effects) -> str:
    """Name what effects are counted in."""
    return {
        'metric': f'points of {effects.metric}',
        'loss': '-100 x loss',
        'train_loss': '-100 x training loss',
    }[effects.measure]


def conditions(effects: Effects) -> str:
    """Say what the numbers are and of what networks."""
    what = {
        'metric': f'Points of {effects.metric}',
        'loss': 'Numbers are -100 x the loss on the reward images',
        'train_loss': 'Numbers are -100 x the loss of the training',
    }[effects.measure]
    if effects.measure != 'metric':
        what += f' (1.00 is a loss lower by 0.01), not points of {effects.metric},'
    return f'{what} {judged_how([effects.budget], effects.metric)}.'


def judged_how(budgets: Sequence[Optional[int]], metric: str) -> str:
    """Say which networks a metric is of: trained ones, or a supernet.

    Args:
        budgets: Iterations that masks were trained for, None for a supernet's weights.
        metric: Name of the metric.
    """
    trained = sorted({budget for budget in budgets if budget is not None})
    if trained:
        *others, last = [f'{budget:,}' for budget in trained]
        listed = f'{", ".join(others)} or {last}' if others else last
        noun = 'iteration' if trained == [1] else 'iterations'
        return f'after {listed} {noun} of training'
    what = 'accuracy' if 'accuracy' in metric else metric
    return f'in the supernet, not the {what} of a trained network'


def gains(effects: Effects) -> List[Tuple[str, str, str]]:
    """Say what the recommended mask gains.

    Returns:
        For no attention and for attention in all blocks: over what the gain is, the
        gain with its interval, and the probability of any.
    """
    rows = []
    for label, known, bit in (
        ('over no attention', effects.recommended.over_none, 0),
        ('over full attention', effects.recommended.over_all, 1),
    ):
        bits = {bit for mask in effects.masks.values() for bit in mask.bits}
        if known is not None and bits == {bit}:
            rows.append((label, '0.00', ITSELF))
        elif known is not None:
            rows.append((label, estimate(known.gain, known.low, known.high),
                         _probability(known.probability)))  # fmt: skip
    return rows


def recommendation(effects: Effects) -> str:
    """Say where the recommended mask has attention, and how sure that is."""
    plugged = [b.place for b, bit in zip(effects.blocks, effects.plugged()) if bit]
    where = f'in {_named(plugged, effects)}' if plugged else 'in no block'
    others = [row for row in gains(effects) if row[2] != ITSELF]
    sure = [f'{gain} {name}, {how}' for name, gain, how in others[:1]]
    if not effects.tells_apart:
        sure.append(f'{_judgements(effects)} do not tell single blocks apart')
    return f'Recommended: attention {where}.\nHow sure: {"; ".join(sure)}.'


def estimate(points: float, low: float, high: float) -> str:
    """Write a number of points with its 95 % interval."""
    return f'{points:+.2f} ({low:+.2f} to {high:+.2f})'


def certainty(effects: Effects) -> List[Tuple[str, str, str]]:
    """Say how sure all of it is: what, the number, and what it means."""
    rows = []
    share, noise, more = effects.explained, effects.noise, effects.trainings_to_halve
    if share is not None:
        much = next((word for least, word in EXPLAINED if share >= least), 'nothing')
        explained = f'{max(round(100 * share), 0)} %'
        rows.append(('explained', explained, f'{much} of how masks differ'))
    if noise is not None:
        each = _noun(effects, 1)
        rows.append(('noise', f'{noise:.2f}', f"one {each}'s standard deviation"))
    if more is not None:
        needed = f'{more:,} more {_noun(effects, more)}'
        rows.append(('to halve the intervals', needed, ''))
    return rows


PAIRS = 'Strongest pairs: what both bring beyond the sum of what each brings'


def pairs(effects: Effects) -> List[Tuple[str, str]]:
    """Name the strongest pairs of blocks, and what they bring together."""
    return [
        (
            ' and '.join(map(effects.name_of, pair.blocks)),
            estimate(pair.effect, pair.low, pair.high),
        )
        for pair in effects.pairs
    ]


def _probability(value: Optional[float]) -> str:
    """Say how probable a gain is; never as a certainty."""
    if value is None:
        return ''
    chances = round(100 * value)
    text = {0: 'under 1', 100: 'over 99'}.get(chances, str(chances))
    return f'{text} % likely to be better'


def _sentence(text: str) -> str:
    return f'{text[0].upper()}{text[1:]}.'


def _noun(effects: Effects, number: Optional[int]) -> str:
    noun = 'judgement' if effects.budget is None else 'training'
    return noun if number == 1 else f'{noun}s'


def _judgements(effects: Effects) -> str:
    number = effects.judgements
    count = 'the' if number is None else f'{number:,}'
    return f'{count} {_noun(effects, number)}'


def _named(places: Sequence[Place], effects: Effects) -> str:
    """Name blocks: ``'blocks 1 and 2 of stage 1 and all of stage 3'``."""
    sizes = effects.stage_blocks
    groups, length = [], 0
    for (module, stage), members in groupby(places, key=lambda where: where[:2]):
        prefix = f'{module} ' if len(sizes) > 1 else ''
        blocks = [block for _, _, block in members]
        size = sizes[module][stage - 1]
        ranges = _ranges(blocks)
        length += len(ranges)
        if size == 1:
            groups.append(f'{prefix}stage {stage}')
        elif len(blocks) == size:
            groups.append(f'all of {prefix}stage {stage}')
        else:
            plural = 's' * (len(blocks) > 1)
            groups.append(f'block{plural} {_joined(ranges)} of {prefix}stage {stage}')
    if length > LONGEST_LIST:
        of_these = [block for block in effects.blocks if block.place in set(places)]
        most = max(of_these, key=lambda block: abs(block.effect)).place
        return (
            f'{len(places)} of the {len(effects.blocks)} blocks, most in '
            f'{effects.name_of(most)}'
        )
    return _joined(groups)


def _ranges(numbers: Sequence[int]) -> List[str]:
    """Write ascending numbers, three or more in a row as ``'4 to 6'``."""
    texts: List[str] = []
    for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        row = [number for _, number in run]
        texts += [f'{row[0]} to {row[-1]}'] if len(row) > 2 else map(str, row)
    return texts


def _joined(texts: Sequence[str]) -> str:
    *others, last = texts
    return f'{", ".join(others)} and {last}' if others else last
