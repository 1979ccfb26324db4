"""Every stock config of the toolboxes with its backbone exchanged, beside itself.

What a config means must not change with the ``type`` of its backbone: without attention
the model is the one that it was, and attention that is plugged in takes part.
"""

import gc
import time
from fnmatch import fnmatch
from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple

from ean_mm.errors import EANError, one_line
from studies.results import Row, Rows
from studies.stock_configs import (
    TOOLBOXES,
    WRAPPER,
    StockModel,
    stock_configs,
)
from studies.swap_comparison import Comparison, HostError, reason_of

EQUAL, UNEQUAL, REFUSED = 'equal', 'unequal', 'refused'
NOT_BUILT, NO_BACKBONE = 'cannot be built', 'no residual backbone'
NOT_COMPARED = 'not compared'
"""has a residual backbone; ``--again`` with this result compares it"""
SAME_MODEL = 'the model of '

RESULTS = (EQUAL, UNEQUAL, REFUSED, NOT_BUILT, NO_BACKBONE, NOT_COMPARED)

COLUMNS = dict(
    toolbox=str,
    config=str,
    model=str,  # a hash, the same where the models are
    backbone=str,
    swapped_to=str,
    result=str,
    details=str,
    seconds=float,
)

ATTENTION = dict(type='SEAttention')
SIZES = dict(mmpretrain=(64, 224), mmdet=(64, 128, 320), mmseg=(64, 256))
"""heights and widths of the images in pixels; larger ones where the host needs them"""


Judged = Dict[Tuple[str, str], Row]


class Outcome(NamedTuple):
    """What came out for a model."""

    result: str
    swapped_to: str = ''
    details: str = ''


def compare(stock: StockModel, sizes: Sequence[int]) -> Outcome:
    """Swap the residual backbones of a stock model, and compare the two models.

    Args:
        stock: The model.
        sizes: See :meth:`Comparison.without_attention`.
    """
    if not stock.places:
        types = 'no model' if stock.cfg is None else str(stock.cfg.get('type'))
        return Outcome(NO_BACKBONE, details=types)
    try:
        plain = stock.build()
    except Exception as error:
        return Outcome(NOT_BUILT, details=reason_of(error))
    notes: List[str] = []
    swapped_to = ''
    for wrap in (False, True):
        without = stock.swapped(None, wrap)
        swapped_to = stock.types(without)
        try:
            comparison = Comparison(plain, stock.build(without))
            said = comparison.without_attention(sizes)
            ours = stock.build(stock.swapped(ATTENTION, wrap))
            said += comparison.with_attention(ours)
        except EANError as error:
            if len(str(error).splitlines()) != 1:
                line = f'{swapped_to} refuses in several lines: {one_line(error)}'
                return Outcome(UNEQUAL, swapped_to, line)
            notes.append(f'{swapped_to} refuses: {error}')
            if swapped_to == WRAPPER:
                return Outcome(REFUSED, swapped_to, '; '.join(notes))
        except HostError as error:
            return Outcome(NOT_BUILT, swapped_to, reason_of(error))
        except Exception as error:
            return Outcome(UNEQUAL, swapped_to, '; '.join([*notes, reason_of(error)]))
        else:
            return Outcome(EQUAL, swapped_to, '; '.join([*said, *notes]))
    return Outcome(REFUSED, swapped_to, '; '.join(notes))


def run_matrix(
    rows: Rows, toolboxes: Sequence[str] = TOOLBOXES, only: str = '*'
) -> Iterator[Row]:
    """Compare every stock config that has no row yet; yield the new rows.

    Configs with the same model take one comparison.

    Args:
        rows: What has been compared; new rows are appended.
        toolboxes: Whose configs.
        only: A pattern that their paths have to match.
    """
    done = {(row['toolbox'], row['config']) for row in rows.rows}
    judged: Judged = {}
    for row in rows.rows:
        judged.setdefault((row['toolbox'], row['model']), row)
    for toolbox in toolboxes:
        for name in in_turns(stock_configs(toolbox)):
            if (toolbox, name) in done or not fnmatch(name, only):
                continue
            row = _judge(toolbox, name, judged)
            rows.append(row)
            if row['model']:
                judged.setdefault((toolbox, row['model']), row)
            gc.collect()
            yield row


def in_turns(names: Sequence[str]) -> List[str]:
    """Sort paths so that each folder has its turn, and soon all have been there."""
    numbers: Dict[str, int] = {}
    seen: Dict[str, int] = {}
    for name in sorted(names):
        folder = name.partition('/')[0]
        numbers[name] = seen[folder] = seen.get(folder, -1) + 1
    return sorted(names, key=lambda name: (numbers[name], name))


def _judge(toolbox: str, name: str, judged: Judged) -> Row:
    started = time.perf_counter()
    row = dict(toolbox=toolbox, config=name, model='', backbone='')
    try:
        stock = StockModel(toolbox, name)
    except Exception as error:
        outcome = Outcome(NOT_BUILT, details=reason_of(error))
    else:
        if stock.places:
            row.update(model=stock.hash, backbone=stock.types())
        same = judged.get((toolbox, row['model'])) if row['model'] else None
        if same is None:
            outcome = compare(stock, SIZES[toolbox])
        else:
            outcome = Outcome(
                same['result'], same['swapped_to'], f'{SAME_MODEL}{same["config"]}'
            )
    seconds = round(time.perf_counter() - started, 1)
    return dict(row, **outcome._asdict(), seconds=seconds)
