"""Text in the terminal: what it is printed on, and tables without lines."""

import io
import sys
from typing import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.table import Table


def console() -> Console:
    """Return a console that takes text as it is."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a file says may have letters that the terminal's encoding has not.
        sys.stdout.reconfigure(errors='replace')
    return Console(highlight=False, markup=False, emoji=False)


def grid(rows: Iterable[Sequence[RenderableType]]) -> Table:
    """Return a table without lines."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for row in rows:
        table.add_row(*row)
    return table
