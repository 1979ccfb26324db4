"""The report of the matrix of swapped backbones."""

from typing import Dict, List, Sequence, Tuple

from studies.report_text import markdown_table
from studies.results import Row
from studies.swap_matrix import (
    EQUAL,
    NO_BACKBONE,
    NOT_BUILT,
    REFUSED,
    SAME_MODEL,
    UNEQUAL,
)

COUNTED = (EQUAL, REFUSED, NOT_BUILT, UNEQUAL)
NOT_EQUAL = {
    UNEQUAL: 'Unequal',
    REFUSED: 'Refused in one line',
    NOT_BUILT: 'Cannot be built, without ean_mm either, from what is installed and '
    'without a download',
}


def swap_block(rows: Sequence[Row]) -> str:
    """Write how many configs agree, and name those that do not.

    Args:
        rows: A row for each config.
    """
    with_backbone = [row for row in rows if row['result'] != NO_BACKBONE]
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
    parts = [markdown_table(head, lines), _in_words(rows)]
    for result, title in NOT_EQUAL.items():
        own = [row for row in with_backbone if row['result'] == result]
        if own:
            parts.append(f'{title}:\n\n{_list(own)}')
    return '\n\n'.join(parts)


def _kind(row: Row) -> Tuple[str, ...]:
    names = (row['backbone'], row['swapped_to'])
    return row['toolbox'], *(f'`{name}`' if name else '' for name in names)


def _models(rows: Sequence[Row]) -> set:
    return {(row['toolbox'], row['model']) for row in rows}


def _counts(rows: Sequence[Row]) -> List[int]:
    return [sum(row['result'] == result for row in rows) for result in COUNTED]


def _in_words(rows: Sequence[Row]) -> str:
    """Say how equal the equal ones are, and what was left out."""
    equal = [row for row in rows if row['result'] == EQUAL]
    own = [row for row in equal if not row['details'].startswith(SAME_MODEL)]
    exact = sum(row['details'].startswith('bit for bit') for row in own)
    alone = sum('features alone' in row['details'] for row in own)
    others = sum(row['result'] == NO_BACKBONE for row in rows)
    hours = sum(row['seconds'] for row in rows) / 3600
    return (
        f'Of the {len(own)} models that are equal, {exact} are so bit for bit; of '
        f'{alone} the features alone were compared, since the model computes no losses '
        f'of the random batches. {others} more configs have no ResNet or backbone '
        f'derived from one. {hours:.1f} hours on one thread, beside other work.'
    )


def _list(rows: Sequence[Row]) -> str:
    """List configs by what is said of them."""
    by_model = {
        (row['toolbox'], row['model']): row['details']
        for row in rows
        if not row['details'].startswith(SAME_MODEL)
    }
    said: Dict[Tuple[str, str], List[str]] = {}
    for row in rows:
        details = row['details']
        if details.startswith(SAME_MODEL):
            details = by_model.get((row['toolbox'], row['model']), details)
        said.setdefault((row['toolbox'], details), []).append(row['config'])
    return '\n'.join(
        f'- {toolbox}, {", ".join(f"`{name}`" for name in sorted(names))}: '
        f'{details.replace("|", " ")}'
        for (toolbox, details), names in sorted(said.items())
    )
