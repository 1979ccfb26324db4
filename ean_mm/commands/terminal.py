"""What the commands print on."""

import io
import sys

from rich.console import Console
from rich.table import Table


def console() -> Console:
    """Return a console that takes text as it is."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a file says may have letters that the terminal's encoding has not.
        sys.stdout.reconfigure(errors='replace')
    return Console(highlight=False, markup=False, emoji=False)


def grid() -> Table:
    """Return a table without lines."""
    return Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
