"""Tables of what every mask is worth, as problems to compare searchers on."""

import csv
import json
import statistics
from pathlib import Path
from typing import Any, Dict, List, Sequence

from ean_mm.errors import EANError
from ean_mm.search.space import Bits


class MaskTable:
    """What every mask is worth, as a problem to search.

    Args:
        values: The value of each mask, in percent.
        sparsity_weight: Weight of the share of zero bits in these values; the rest of
            them is accuracy.

    Raises:
        ValueError: There is not one of every mask.
    """

    def __init__(self, values: Dict[Bits, float], sparsity_weight: float = 0.0) -> None:
        self.values = values
        self.sparsity_weight = sparsity_weight
        self.num_bits = len(next(iter(values), ()))
        if not values or len(values) != 2**self.num_bits:
            raise EANError(
                f'a table has {len(values)} masks, not all of those of '
                f'{self.num_bits} bits'
            )
        accuracies = [self.accuracy(mask) for mask in values]
        self.mean_accuracy = statistics.mean(accuracies)
        self.spread = statistics.pstdev(accuracies)
        self.best_reward = max(values.values())

    def accuracy(self, mask: Sequence[int]) -> float:
        """Return the value of a mask without its share for sparsity."""
        return self(mask) - self.sparsity_weight * (1 - sum(mask) / self.num_bits)

    def __call__(self, mask: Sequence[int]) -> float:
        """Return the value of a mask."""
        return self.values[tuple(mask)]


def read_values(path: str, column: str) -> Dict[str, Dict[Bits, float]]:
    """Read what masks are worth from JSON or CSV, by the attentions in it.

    Of a mask that is there several times, as with several seeds, the mean counts.

    Args:
        path: A file with a mask and its value in each entry.
        column: Name of the value, in percent.

    Raises:
        ValueError: It is no such file.
    """
    found: Dict[str, Dict[Bits, List[float]]] = {}
    try:
        for entry in _entries(path):
            name = ' '.join([Path(path).stem, *filter(None, [entry.get('attention')])])
            mask = tuple(int(char) for char in str(entry['mask']) if char in '01')
            by_mask = found.setdefault(name, {})
            by_mask.setdefault(mask, []).append(float(entry[column]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise EANError(
            f'{path} has no mask and {column} in each entry: {error!r:.80}'
        ) from error
    return {
        name: {mask: statistics.mean(values) for mask, values in by_mask.items()}
        for name, by_mask in found.items()
    }


def _entries(path: str) -> List[Dict[str, Any]]:
    text = Path(path).read_text()
    if path.endswith('.csv'):
        return list(csv.DictReader(text.splitlines()))
    return json.loads(text)


def read_tables(path: str, column: str) -> Dict[str, MaskTable]:
    """Read tables of accuracies, one for each attention in a file.

    What has not every mask is left out, and said. See :func:`read_values`.
    """
    tables = {}
    for name, values in read_values(path, column).items():
        try:
            tables[name] = MaskTable(values)
        except EANError as error:
            print(f'skipped: {name}: {error}')
    return tables
