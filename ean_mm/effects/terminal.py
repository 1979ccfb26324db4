"""Effects as a table in the terminal, or as lines of a log."""

import io
from typing import Any, Dict, List, Tuple

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ean_mm.effects import words
from ean_mm.effects.stored import StoredBlock, StoredEffects

LOG_WIDTH, NARROW = 80, 56
SHORTEST_BAR, LONGEST_BAR = 11, 41
# Not plugged in, plugged in, interval, effect, zero.
UNICODE, ASCII = '□■─●│', '.#-o|'
VERDICTS = {1: ('helps', 'bold blue'), -1: ('hurts', 'bold yellow'), 0: ('', 'dim')}


def effects_lines(effects: Dict[str, Any]) -> List[str]:
    """Return the lines of a log for the entry ``effects`` of a mask file, in ASCII.

    Raises:
        ValueError: It is not what a search writes.
    """
    file = io.StringIO()
    console = Console(file=file, width=LOG_WIDTH, color_system=None, markup=False)
    _print(StoredEffects.read(effects), console, ASCII)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def print_effects(effects: StoredEffects, console: Console) -> None:
    """Print a row for each block, then pairs, gains and how sure all that is."""
    _print(effects, console, ASCII if console.options.ascii_only else UNICODE)


def _print(effects: StoredEffects, console: Console, signs: str) -> None:
    for line in (words.headline(effects), words.conditions(effects)):
        console.print(line)
    console.print()
    console.print(_blocks_table(effects, console.width, signs))
    console.print()
    facts = _grid()
    for name, value in _facts(effects, signs[1]):
        facts.add_row(name, value)
    console.print(facts)
    if effects.pairs:
        console.print(f'\n{words.PAIRS}')
        pairs = _grid()
        for names, points in words.pairs(effects):
            pairs.add_row(names, points)
        console.print(pairs)


def _blocks_table(effects: StoredEffects, width: int, signs: str) -> Table:
    plugged = effects.plugged()
    names = _block_names(effects, short=width < NARROW)
    intervals = [f'{b.low:+.2f} to {b.high:+.2f}' for b in effects.blocks]
    columns = [
        ['', *names],
        ['', *(signs[bit] if bit is not None else '' for bit in plugged)],
        ['effect', *(f'{block.effect:+.2f}' for block in effects.blocks)],
        ['95 % interval', *intervals],
        [VERDICTS[effects.verdict(block)][0] for block in effects.blocks],
    ]
    # Two cells stand between the columns.
    used = sum(max(1, *map(cell_len, column)) + 2 for column in columns)
    bar = min(width - used, LONGEST_BAR)
    table = _grid()
    for column in range(len(columns) + 1):
        table.add_column(justify='right' if column in (2, 3) else 'left', no_wrap=True)
    low = min(0.0, *(block.low for block in effects.blocks))
    high = max(0.0, *(block.high for block in effects.blocks))
    scale = _scale(low, high, bar) if bar >= SHORTEST_BAR else ''
    table.add_row('', '', 'effect', '95 % interval', scale, '')
    for name, bit, block, interval in zip(names, plugged, effects.blocks, intervals):
        verdict, style = VERDICTS[effects.verdict(block)]
        table.add_row(
            name,
            Text('' if bit is None else signs[bit], style='bold red' if bit else ''),
            Text(f'{block.effect:+.2f}', style=style),
            interval,
            Text(_bar(block, low, high, bar, signs) if scale else '', style=style),
            Text(verdict, style=style),
        )
    return table


def _block_names(effects: StoredEffects, short: bool) -> List[str]:
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


def _bar(block: StoredBlock, low: float, high: float, width: int, signs: str) -> str:
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


def _facts(effects: StoredEffects, plugged: str) -> List[Tuple[str, str]]:
    facts: List[Tuple[str, str]] = []
    masks = effects.masks
    for name, mask in masks.items():
        what = f'for {name}' if len(masks) > 1 else 'mask'
        facts.append((f'{plugged} recommended {what}', str(mask)))
    for name, number, meaning in words.gains(effects) + words.certainty(effects):
        facts.append((name, f'{number}, {meaning}' if meaning else number))
    return facts


def _grid() -> Table:
    return Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
