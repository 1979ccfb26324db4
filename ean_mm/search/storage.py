"""What a search keeps on disk, so that a kill at any moment loses nothing."""

import json
import math
import operator
import os
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch

from ean_mm.errors import EANError
from ean_mm.fileio import atomic_save, atomic_write

Record = Dict[str, Any]


class SearchStorage:
    """The history and the state of a search, in a folder of its own.

    ``history.jsonl`` has one JSON line for every step, with each mask's reward.
    ``state.pth`` is what the next step depends on; it is replaced atomically after the
    step's line has reached the disk. A line beyond the state is of a step that was cut
    off: its rewards are known, and the step is done again.

    Args:
        folder: Where to keep them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.history_path = self.folder / 'history.jsonl'
        self.state_path = self.folder / 'state.pth'

    def exists(self) -> bool:
        """Whether a search has been stored here."""
        return self.state_path.exists() or self.history_path.exists()

    def set_aside(self) -> None:
        """Rename what an earlier search left here, so that a new one may begin."""
        trained = (self.folder / 'trainings', self.folder / 'start.pth')
        for path in (self.history_path, self.state_path, *trained):
            if path.exists():
                number = 1
                while (old := path.with_name(f'{path.name}.old{number}')).exists():
                    number += 1
                path.rename(old)

    def start(self, state: Dict[str, Any]) -> None:
        """Begin a search."""
        self.set_aside()
        atomic_save(state, self.state_path)
        self.history_path.touch()

    def load(self, fingerprint: Dict[str, str]) -> Optional[Dict[str, Any]]:
        """Return the state of the search stored here, None if there is none.

        Raises:
            ValueError: The state is unreadable or of a search with another
                fingerprint.
        """
        if not self.exists():
            return None
        mend = f'move {self.folder} away to search afresh, or give another --work-dir'
        if not self.state_path.exists():
            raise EANError(f'{self.history_path} has no {self.state_path.name}; {mend}')
        try:
            state = torch.load(self.state_path, map_location='cpu', weights_only=True)
            stored = dict(state['fingerprint'])
            state['searcher']['step']
        except Exception as error:  # a damaged pickle raises almost anything
            raise EANError(
                f'{self.state_path} is not a readable search state '
                f'({type(error).__name__}); {mend}'
            ) from error
        differing = [key for key in fingerprint if stored.get(key) != fingerprint[key]]
        if differing:
            raise EANError(
                f'{self.state_path} belongs to another search: its '
                f'{", ".join(differing).replace("_", " ")} differ; {mend}'
            )
        return state

    def read_history(self) -> List[Record]:
        """Return the history's records; a torn last line is left out.

        Raises:
            ValueError: A line other than the last is damaged.
        """
        if not self.history_path.exists():
            return []
        lines = self.history_path.read_bytes().split(b'\n')
        records = []
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            try:
                record = json.loads(line)
                operator.index(record['step'])
                if not all(math.isfinite(entry['metric']) for entry in record['masks']):
                    raise ValueError('a metric is not finite')
                records.append(record)
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                if number == len(lines):  # no newline: cut off while being written
                    break
                raise EANError(
                    f'{self.history_path}, line {number} is damaged; restore it, or '
                    'start afresh without --resume'
                ) from error
        return records

    def rewrite_history(self, records: List[Record]) -> None:
        """Replace the history."""
        with atomic_write(self.history_path) as file:
            for record in records:
                file.write(self._line(record))

    def append(self, record: Record, state: Dict[str, Any]) -> None:
        """Store a finished step: its line first, then the state after it."""
        with open(self.history_path, 'ab') as file:
            file.write(self._line(record))
            file.flush()
            os.fsync(file.fileno())
        atomic_save(state, self.state_path)

    @staticmethod
    def _line(record: Record) -> bytes:
        return f'{json.dumps(record, allow_nan=False)}\n'.encode()
