"""Draw what attention costs in time, as ``benchmark.py`` has measured it."""

from itertools import cycle
from typing import Any, Dict

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark_report import Record, merge
from ean_mm.visualization.style import INK, PLAIN, PLUGGED

COLORS = {
    'mmpretrain SEResNet': INK,
    'timm SEResNet': '#5b6777',
    'unshared': '#98a1ae',
    'shared': PLAIN,
}
MASK_COLORS = (PLUGGED, '#e9a23b', '#2a9d8f', '#7353ba')


def draw_benchmark(result: Dict[str, Any]) -> Figure:
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
