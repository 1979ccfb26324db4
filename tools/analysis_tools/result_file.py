"""The results of a tool in a JSON file, written as they come."""

import json
from pathlib import Path
from typing import Any, Dict, List, Optional

from ean_mm.errors import EANError
from ean_mm.fileio import atomic_write

Result = Dict[str, Any]


class ResultFile:
    """What a tool has found, a record for each thing that it did.

    Args:
        path: The file, which need not exist; None to keep the results in memory.

    Raises:
        ValueError: It holds something else.
    """

    def __init__(self, path: Optional[str]) -> None:
        self.path = path
        self.records: List[Result] = []
        if path is not None and Path(path).exists():
            try:
                self.records = json.loads(Path(path).read_text())
            except ValueError as error:
                raise EANError(
                    f'{path} is not a result of this tool; remove it'
                ) from error

    def find(self, **key: Any) -> Optional[Result]:
        """Return the record that has these values, None if there is none."""
        return next((r for r in self.records if key.items() <= r.items()), None)

    def save(self) -> None:
        """Write all records, one a line."""
        if self.path is not None:
            lines = ',\n'.join(map(json.dumps, self.records))
            with atomic_write(self.path) as file:
                file.write(f'[\n{lines}\n]\n'.encode())
