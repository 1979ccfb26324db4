"""Tables of what ``benchmark.py`` has measured."""

import json
import statistics
from pathlib import Path
from typing import Any, Dict, List, Sequence

from rich.console import Console
from rich.table import Table

from ean_mm.errors import EANError

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
            runtime = next(iter(group.values())).get('runtime', 'torch')
            form = 'in the same format' if memory else 'as its users run it'
            form = form if runtime == 'torch' else 'in the same runtime'
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
