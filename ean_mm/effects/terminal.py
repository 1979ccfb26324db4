"""Effects as a table in the terminal."""

from typing import Any, List, Tuple

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ean_mm.effects import words
from ean_mm.effects.effects import BlockEffect, Effects
from ean_mm.terminal import grid

NARROW = 56
SHORTEST_BAR, LONGEST_BAR = 11, 41
# Not plugged in, plugged in, interval, effect, zero.
UNICODE, ASCII = '□■─●│', '.#-o|'
VERDICTS = {1: ('helps', 'bold blue'), -1: ('hurts', 'bold yellow'), 0: ('', 'dim')}


def print_effects(effects: Effects, console: Console) -> None:
    """Print a row for each block, then pairs, gains and how sure all that is."""
    signs = ASCII if console.options.ascii_only else UNICODE
    for line in (words.headline(effects), words.conditions(effects)):
        console.print(line)
    console.print()
    console.print(_blocks_table(effects, console.width, signs))
    console.print()
    console.print(grid(_facts(effects, signs[1])))
    if effects.pairs:
        console.print(f'\n{words.PAIRS}')
        console.print(grid(words.pairs(effects)))


def _blocks_table(effects: Effects, width: int, signs: str) -> Table:
    blocks = effects.blocks
    verdicts = [VERDICTS[effects.verdict(block)] for block in blocks]
    styles = [style for _, style in verdicts]
    plugged = [
        Text('' if bit is None else signs[bit], 'bold red' if bit else '')
        for bit in effects.plugged()
    ]
    intervals = [f'{block.low:+.2f} to {block.high:+.2f}' for block in blocks]
    columns: List[List[Any]] = [
        ['', *_block_names(effects, short=width < NARROW)],
        ['', *plugged],
        ['effect', *map(Text, [f'{block.effect:+.2f}' for block in blocks], styles)],
        ['95 % interval', *intervals],
        ['', *(Text(verdict, style) for verdict, style in verdicts)],
    ]
    # Two cells stand between the columns.
    used = sum(max(1, *(cell_len(str(c)) for c in column)) + 2 for column in columns)
    length = min(width - used, LONGEST_BAR)
    low = min(0.0, *(block.low for block in blocks))
    high = max(0.0, *(block.high for block in blocks))
    scale, bars = '', [''] * len(blocks)
    if length >= SHORTEST_BAR:
        scale = _scale(low, high, length)
        bars = [_bar(block, low, high, length, signs) for block in blocks]
    columns.insert(4, [scale, *map(Text, bars, styles)])
    table = grid(zip(*columns))
    table.columns[2].justify = table.columns[3].justify = 'right'
    for column in table.columns:
        column.no_wrap = True
    return table


def _block_names(effects: Effects, short: bool) -> List[str]:
    """Name the blocks, each stage only at its first one; short as 2.1."""
    several = len(effects.stage_blocks) > 1
    names = []
    for module, stage, number in (block.place for block in effects.blocks):
        prefix = f'{module} ' if several else ''
        if short:
            names.append(f'{prefix}{stage}.{number}')
            continue
        first = f'{prefix}stage {stage}'
        name = first if number == 1 else ' ' * cell_len(first)
        names.append(f'{name}  block {number}')
    return names


def _position(value: float, low: float, high: float, width: int) -> int:
    """The cell of a value on an axis from low to high."""
    return round((value - low) / ((high - low) or 1) * (width - 1))


def _scale(low: float, high: float, width: int) -> str:
    """Write the ends of the axis and its zero above the bars."""
    cells = [' '] * width
    zero = _position(0, low, high, width)
    for text, start in (
        (f'{low:+.2g}', 0),
        (f'{high:+.2g}', width - len(f'{high:+.2g}')),
    ):
        if 0 <= start and not start - 1 <= zero <= start + len(text):
            cells[start : start + len(text)] = text
    cells[zero] = '0'
    return ''.join(cells)


def _bar(block: BlockEffect, low: float, high: float, width: int, signs: str) -> str:
    """Draw an interval and its middle; the zero line crosses what lies on it."""
    first, last, dot, zero = (
        _position(value, low, high, width)
        for value in (block.low, block.high, block.effect, 0.0)
    )
    cells = [' '] * width
    cells[first : last + 1] = signs[2] * (last + 1 - first)
    cells[zero] = signs[4]
    cells[dot] = signs[3]
    return ''.join(cells)


def _facts(effects: Effects, plugged: str) -> List[Tuple[str, str]]:
    facts: List[Tuple[str, str]] = []
    masks = effects.masks
    for name, mask in masks.items():
        what = f'for {name}' if len(masks) > 1 else 'mask'
        facts.append((f'{plugged} recommended {what}', str(mask)))
    for name, number, meaning in words.gains(effects) + words.certainty(effects):
        facts.append((name, f'{number}, {meaning}' if meaning else number))
    return facts
