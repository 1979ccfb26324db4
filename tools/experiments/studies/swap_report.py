"""The report of the matrix of swapped backbones."""

from typing import Dict, List, Sequence, Tuple

from studies.report_text import markdown_table
from studies.results import Row
from studies.swap_comparison import FEATURES_ALONE
from studies.swap_matrix import (
    EQUAL,
    NO_BACKBONE,
    NOT_BUILT,
    NOT_COMPARED,
    REFUSED,
    SAME_MODEL,
    UNEQUAL,
)

COUNTED = (EQUAL, REFUSED, NOT_BUILT, UNEQUAL)
NOT_EQUAL = {
    UNEQUAL: 'Unequal',
    REFUSED: 'Refused in one line',
    NOT_BUILT: 'Cannot be read, built or run as they are, without EAN-MM, from what is '
    'installed, on a CPU and without a download',
}


def swap_block(rows: Sequence[Row]) -> str:
    """Write how many configs agree, and name those that do not.

    Args:
        rows: A row for each config.
    """
    left_out = (NO_BACKBONE, NOT_COMPARED)
    with_backbone = _with_details(
        [row for row in rows if row['result'] not in left_out]
    )
    if not with_backbone:
        return 'No config has been compared yet.'
    kinds: Dict[Tuple[str, ...], List[Row]] = {}
    for row in sorted(with_backbone, key=_kind):
        kinds.setdefault(_kind(row), []).append(row)
    lines = [
        [*kind, str(len(own)), str(len(_models(own))), *map(str, _counts(own))]
        for kind, own in kinds.items()
        if kind[1]
    ]
    every = [row for row in with_backbone if row['backbone']]
    totals = [str(len(every)), str(len(_models(every))), *map(str, _counts(every))]
    lines.append(['all', '', '', *totals])
    head = ['toolbox', 'backbone', 'becomes', 'configs', 'models', *COUNTED]
    parts = [markdown_table(head, lines), _in_words(with_backbone, rows)]
    alone = [row for row in with_backbone if FEATURES_ALONE in row['details']]
    if alone:
        title = 'Compared by what trains and by features alone, all equal'
        parts.append(f'{title}:\n\n{_list(alone)}')
    for result, title in NOT_EQUAL.items():
        own = [row for row in with_backbone if row['result'] == result]
        if own:
            parts.append(f'{title}:\n\n{_list(own)}')
    return '\n\n'.join(parts)


def _with_details(rows: Sequence[Row]) -> List[Row]:
    """Give every row what is said of its model."""
    said = {
        (row['toolbox'], row['model']): row['details']
        for row in rows
        if not row['details'].startswith(SAME_MODEL)
    }
    return [
        dict(row, details=said.get((row['toolbox'], row['model']), row['details']))
        if row['model']
        else row
        for row in rows
    ]


def _kind(row: Row) -> Tuple[str, ...]:
    names = (row['backbone'], row['swapped_to'])
    return row['toolbox'], *(f'`{name}`' if name else '' for name in names)


def _models(rows: Sequence[Row]) -> set:
    return {(row['toolbox'], row['model']) for row in rows}


def _counts(rows: Sequence[Row]) -> List[int]:
    return [sum(row['result'] == result for row in rows) for result in COUNTED]


def _in_words(with_backbone: Sequence[Row], rows: Sequence[Row]) -> str:
    """Say how equal the equal ones are, and what was left out."""
    equal = [row for row in with_backbone if row['result'] == EQUAL]
    exact = [row for row in equal if row['details'].startswith('bit for bit')]
    wrapped = sum(' refuses: ' in row['details'] for row in equal)
    hours = sum(row['seconds'] for row in rows) / 3600
    none = sum(row['result'] == NO_BACKBONE for row in rows)
    waiting = sum(row['result'] == NOT_COMPARED for row in rows)
    return (
        f'Of the {len(_models(equal))} models that are equal, {len(_models(exact))} '
        f'are so bit for bit. {wrapped} of the equal configs have a ResNet with '
        'options (`dcn`, `plugins` or `multi_grid`) that `EANResNet` and its variants '
        'refuse in one line, and are equal in the `EANWrapper` that the line names. '
        f'{none} more configs have none of these backbones, and {waiting} have one but '
        f'have not been compared yet. {hours:.1f} hours on one thread, beside other '
        'work.'
    )


def _list(rows: Sequence[Row]) -> str:
    """List configs by what is said of them."""
    said: Dict[Tuple[str, str], List[str]] = {}
    for row in rows:
        said.setdefault((row['toolbox'], row['details']), []).append(row['config'])
    return '\n'.join(
        f'- {toolbox}, {", ".join(f"`{name}`" for name in sorted(names))}: '
        f'{details.replace("|", " ")}'
        for (toolbox, details), names in sorted(said.items())
    )
