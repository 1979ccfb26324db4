"""Tables and a figure of what ``tools/analysis_tools/benchmark.py`` has measured."""

import json
import statistics
from itertools import cycle
from pathlib import Path
from typing import Any, Dict, List, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from ean_mm.errors import EANError
from ean_mm.visualization.mask_plot import INK, PLAIN, PLUGGED

COLORS = {
    'mmpretrain SEResNet': INK,
    'timm SEResNet': '#5b6777',
    'unshared': '#98a1ae',
    'shared': PLAIN,
}
MASK_COLORS = (PLUGGED, '#e9a23b', '#2a9d8f', '#7353ba')

Record = Dict[str, Any]


def read(path: str) -> Dict[str, Any]:
    """Read a result that the tool has written.

    Raises:
        EANError: There is none in the file.
    """
    try:
        result = json.loads(Path(path).read_text())
        if merge(result['records']) and result['network'] and result['image_size']:
            return result
    except OSError as error:
        raise EANError(f'{path} cannot be read: {error.strerror}') from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EANError(f'{path} is not a result of this tool') from error
    raise EANError(f'{path} holds no measurement yet')


def merge(records: Sequence[Record]) -> Dict[str, Dict[str, Record]]:
    """Merge the repeats of each setting and label.

    Returns:
        By setting and label, the median of the repeats' values and the hull of their
        intervals: from the lowest bound to the highest.
    """
    groups: Dict[str, Dict[str, List[Record]]] = {}
    for record in records:
        group = groups.setdefault(record['setting'], {})
        group.setdefault(record['label'], []).append(record)
    return {
        setting: {label: _merge_repeats(repeats) for label, repeats in group.items()}
        for setting, group in groups.items()
    }


def _merge_repeats(repeats: Sequence[Record]) -> Record:
    def median(key: str) -> float:
        return statistics.median(record[key] for record in repeats)

    def hull(key: str) -> List[float]:
        lows, highs = zip(*(record[key] for record in repeats))
        return [min(lows), max(highs)]

    merged = dict(repeats[0], median_ms=median('median_ms'))
    merged['quartiles_ms'] = hull('quartiles_ms')
    merged['ratio_to'] = {
        name: statistics.median(r['ratio_to'][name]['ratio'] for r in repeats)
        for name in repeats[0]['ratio_to']
    }
    if 'peak_mib' in merged:
        merged['peak_mib'] = median('peak_mib')
    if merged['rti'] is not None:
        merged.update(rti=median('rti'), rti_interval=hull('rti_interval'))
    return merged


def show(result: Dict[str, Any]) -> None:
    """Print a table of the networks, and one of the times for each setting.

    After "±" is half the distance between the merged quartiles of the times, in ms.
    """
    console = Console()
    sizes: Dict[str, Dict[bool, List[str]]] = {}
    masks = {}
    for record in result['records']:
        millions, billions = record['parameters'] / 1e6, record['flops'] / 1e9
        by_form = sizes.setdefault(record['label'], {})
        by_form[record['deployed']] = [f'{millions:.2f} M', f'{billions:.2f} G']
        masks[record['label']] = record['mask']
    table = _table('Networks', ['parameters', 'FLOPs', 'deployed', 'FLOPs', 'mask'])
    for label, by_form in sizes.items():
        cells = by_form.get(False, ['', '']) + by_form.get(True, ['', ''])
        table.add_row(label, *cells, masks[label])
    console.print(table)
    for setting, group in merge(result['records']).items():
        others = next(iter(group.values()))['ratio_to']
        heads = [f'x {name.split()[1]}' for name in others]
        memory = 'peak_mib' in next(iter(group.values()))
        table = _table(setting, ['ms', 'RTI, %', *heads, *['MiB'] * memory])
        if others:
            form = 'in the same format' if memory else 'as its users run it'
            table.caption = f"x: times the time of mmpretrain's, {form}"
        for label, record in group.items():
            low, high = record['quartiles_ms']
            rti = ''
            if record['rti'] is not None:
                rti = '{:+.1f} ({:+.1f} to {:+.1f})'.format(
                    record['rti'], *record['rti_interval']
                )
            table.add_row(
                label,
                f'{record["median_ms"]:.1f} ± {(high - low) / 2:.1f}',
                rti,
                *(f'{ratio:.3f}' for ratio in record['ratio_to'].values()),
                *([f'{record["peak_mib"]:.0f}'] if memory else []),
            )
        console.print(table)


def _table(title: str, heads: Sequence[str]) -> Table:
    table = Table(
        title=f'\n{title}',
        title_style='bold',
        title_justify='left',
        caption_justify='left',
        box=None,
        pad_edge=False,
    )
    table.add_column(min_width=19)
    for head in heads:
        table.add_column(head, justify='right')
    return table


def draw(result: Dict[str, Any]) -> Figure:
    """Draw the RTI with its intervals: a column an attention, a group a setting."""
    groups = merge(result['records'])
    records = [record for group in groups.values() for record in group.values()]
    ours = [record for record in records if record['source'] == 'ean_mm']
    kinds = [kind for kind in dict.fromkeys(r['attention'] for r in ours) if kind]
    # A setting's bars from top to bottom: what is known first, the masks last.
    found = {_bar(record) for record in records if record['attention'] in kinds}
    masks = sorted({record['variant'] for record in ours if record['mask']})
    colors = {**COLORS, **dict(zip(masks, cycle(MASK_COLORS)))}
    names = [name for name in colors if name in found]
    step = len(names) + 1

    figure = Figure(
        figsize=(3 * len(kinds) + 2.4, 0.2 * step * len(groups) + 1.4),
        layout='constrained',
    )
    columns = figure.subplots(1, len(kinds), sharex=True, squeeze=False)[0]
    handles = {}
    for ax, kind in zip(columns, kinds):
        for row, group in enumerate(groups.values()):
            bars = {_bar(r): r for r in group.values() if r['attention'] == kind}
            top = row * step + (len(names) - len(bars)) / 2
            for y, name in enumerate(filter(bars.get, names)):
                handles[name] = _draw_bar(ax, top + y, bars[name], colors[name])
        ax.set_ylim(step * len(groups) - 1, -1)
        ax.set_title(kind, loc='left', fontweight='bold', color=INK)
        ax.set_yticks([row * step + step / 2 - 1 for row in range(len(groups))], [])
        ax.axvline(0, color=INK, lw=0.8)
        ax.spines[['top', 'right', 'left']].set_visible(False)
        ax.tick_params(axis='y', length=0)
        ax.margins(x=0.15)
    columns[0].set_yticklabels([name.replace(', batch', '\nbatch') for name in groups])
    figure.legend(
        [handles[name] for name in names],
        names,
        loc='outside upper left',
        ncols=len(names) if len(kinds) > 1 else 2,
        frameon=False,
    )
    what = '{network}, {image_size} x {image_size}'.format(**result)
    figure.supxlabel(
        f'RTI: more time than the plain network, % ({what})', fontsize='medium'
    )
    return figure


def _draw_bar(ax: Axes, y: float, record: Record, color: str) -> Artist:
    low, high = record['rti_interval']
    (bar,) = ax.barh(y, record['rti'], 0.9, color=color)
    ax.plot([low, high], [y, y], color=INK, lw=1)
    ax.annotate(
        f'{record["rti"]:+.1f}',
        (max(high, 0), y),
        xytext=(4, 0),
        textcoords='offset points',
        va='center',
        fontsize=8,
        color=INK,
    )
    return bar


def _bar(record: Record) -> str:
    """Name a record's bar, the same for every attention."""
    return record['variant'] if record['source'] == 'ean_mm' else record['label']
