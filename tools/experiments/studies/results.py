"""The results of finished runs, in CSV files."""

import csv
import errno
import fcntl
import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple, Union

from ean_mm.errors import EANError
from ean_mm.fileio import atomic_write

Row = Dict[str, Any]
Label = Tuple[Any, ...]

COLUMNS: Dict[str, Callable[[str], Any]] = dict(
    protocol=str,
    options=str,  # of the command line, empty as a rule
    network=str,
    attention=str,
    variant=str,
    mask=str,
    seed=int,
    metric=str,
    percent=float,
    parameters=int,  # without those of attention that is not plugged in
    train_images=int,
    test_images=int,
    epochs=int,
    iterations=int,
    train_seconds=float,
    config_hash=str,
    date=str,
    machine=str,
    threads=int,
    torch=str,
)
"""the columns, and what reads their text"""

LABEL = ('protocol', 'options', 'network', 'attention', 'variant', 'seed')


class Rows:
    """A CSV file with a row for each finished run.

    A row is appended in one write, under the file's lock, so that several processes may
    append to it. One that a kill or a full disk has cut off is left out, with a word
    about it, so that its run is done again.

    Args:
        path: The file; it need not exist yet.
        columns: Its columns, and what reads their text.

    Raises:
        ValueError: It is not such a file, or a line other than the last is damaged.
    """

    def __init__(
        self, path: Union[str, Path], columns: Dict[str, Callable[[str], Any]]
    ) -> None:
        self.path = Path(path)
        self.columns = columns
        self.rows: List[Row] = []
        text = self.path.read_text() if self.path.exists() else ''
        complete, _, rest = text.rpartition('\n')
        if rest:
            print(
                f'{self.path}: the last line was cut off and is left out; its run is '
                'done again'
            )
        self._read(complete)

    def append(self, row: Row) -> None:
        """Add a finished run, on the disk when this returns.

        Raises:
            OSError: The disk is full; the rows before are whole.
        """
        row = {name: read(str(row[name])) for name, read in self.columns.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, 'a+b', buffering=0) as file:
            with suppress(OSError):  # file systems without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            content = file.read()
            complete = content.rfind(b'\n') + 1
            if complete < len(content):
                file.truncate(complete)  # a row that was cut off
            text = self._text([row], header=complete == 0).encode()
            if file.write(text) < len(text):
                file.truncate(complete)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(file.fileno())
        self.rows.append(row)

    def remove(self, unwanted: Callable[[Row], bool]) -> None:
        """Remove rows, so that what they are of is done again."""
        kept = [row for row in self.rows if not unwanted(row)]
        if len(kept) < len(self.rows):
            self.rows = kept
            with atomic_write(self.path) as file:
                file.write(self._text(kept, header=True).encode())

    def _read(self, text: str) -> None:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        if text and reader.fieldnames != list(self.columns):
            raise EANError(
                f'{self.path} has other columns than the results of this tool; name '
                'another file with --csv'
            )
        try:
            for cells in reader:
                if None in cells or None in cells.values():
                    raise ValueError('too many or too few cells')
                self.rows.append(
                    {name: read(cells[name]) for name, read in self.columns.items()}
                )
        except (TypeError, ValueError, csv.Error) as error:
            raise EANError(
                f'{self.path}, line {reader.line_num} is damaged; restore or remove it'
            ) from error

    def _text(self, rows: List[Row], header: bool) -> str:
        file = io.StringIO()
        writer = csv.DictWriter(file, self.columns, lineterminator='\n')
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return file.getvalue()


class Results(Rows):
    """The results of tables, see :data:`COLUMNS`.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Union[str, Path]) -> None:
        super().__init__(path, COLUMNS)

    def by_hash(self) -> Dict[str, Row]:
        """Return the rows by the hash of their config."""
        return {row['config_hash']: row for row in self.rows}

    def by_label(self) -> Dict[Label, Row]:
        """Return the latest row of each run of a table.

        A run whose config has changed since has an older one as well.
        """
        return {label_of(row): row for row in self.rows}


def label_of(row: Row) -> Label:
    """Name the place of a row in its table."""
    return tuple(row[name] for name in LABEL)
