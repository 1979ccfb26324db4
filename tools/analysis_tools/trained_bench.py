"""A bench of trained masks as a problem to search: its rows answer for trainings."""

from functools import cached_property
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from ean_mm.errors import EANError
from ean_mm.search.space import Bits
from ean_mm.search.surrogate.model import MaskModel, clip_outliers
from ean_mm.search.surrogate.prior import all_masks
from mask_table import MaskTable
from studies.bench.order import Job
from studies.bench.table import COLUMNS
from studies.bench.variance import Spread, spread_of
from studies.results import Row, Rows
from studies.table import read_mask

ACCURACY, LOSS, TRAIN_LOSS = 'reward accuracy', 'reward loss', 'training loss'
MEASURES = {
    ACCURACY: ('reward_accuracies', 1),
    LOSS: ('reward_losses', -1),
    TRAIN_LOSS: ('train_losses', -1),
}
"""the column of each measure, and the sign by which more is better"""


class BenchRows:
    """What the trainings of a bench have measured, and what the masks are worth.

    With one seed all masks have the same initial weights and batches. What a further
    seed adds to all masks, estimated on those that have it, is taken away, so that
    trainings of several seeds can be compared.

    Args:
        rows: The rows of one attention, by one protocol.

    Raises:
        ValueError: There are none, or they are of several protocols.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        if len({(row['attention'], row['protocol']) for row in rows}) != 1:
            raise EANError(
                'a replay needs trainings of one attention by one protocol, and at '
                'least one of them; train masks with tools/experiments/bench.py'
            )
        self.attention: str = rows[0]['attention']
        self.protocol: str = rows[0]['protocol']
        self.rows = {Job(row['mask'], row['seed']): row for row in rows}
        self.bits: Dict[Job, Bits] = {
            job: read_mask(job.mask).bits for job in self.rows
        }
        self.num_bits = len(next(iter(self.bits.values())))
        self.epochs = len(rows[0]['test_accuracies'].split())
        self.seeds: Dict[Bits, List[int]] = {}
        """the seeds of each mask that has a training"""
        for job, bits in self.bits.items():
            self.seeds.setdefault(bits, []).append(job.seed)
        self.values: Dict[str, List[Dict[Tuple[Bits, int], float]]] = {
            measure: [self._values(column, sign, n) for n in range(self.epochs)]
            for measure, (column, sign) in MEASURES.items()
        }
        """by measure and epoch, that of each mask and seed; more is better"""

    @classmethod
    def read(cls, path: Path, attention: str) -> 'BenchRows':
        """Read the rows of an attention from a bench's file."""
        rows = Rows(path, COLUMNS).rows
        return cls([row for row in rows if row['attention'] == attention])

    @property
    def missing(self) -> int:
        """How many masks have no training."""
        return 2**self.num_bits - len(self.seeds)

    def require_all(self) -> None:
        """Refuse a bench that is not complete.

        Raises:
            ValueError: Masks are missing.
        """
        if self.missing:
            raise EANError(
                f'{self.missing} of {2**self.num_bits} masks have no training; train '
                'them with tools/experiments/bench.py, or replay on the others with '
                '--part'
            )

    @cached_property
    def truth(self) -> MaskTable:
        """The test accuracy that each mask is expected to have, in percent.

        It is the mean of a Gaussian process that has seen the test accuracies of all
        trainings, by which the luck of a training is not taken for the mask's worth.
        """
        masks = all_masks(self.num_bits)
        means = self._model.mean(masks).tolist()
        return MaskTable({tuple(m): v for m, v in zip(masks.tolist(), means)})

    @cached_property
    def others_truth(self) -> Dict[Bits, float]:
        """The same of each mask with a training, by all trainings but its first one."""
        predicted = self._model.leave_one_out()[0]
        first = {bits: min(seeds) for bits, seeds in self.seeds.items()}
        return {
            self.bits[job]: float(value)
            for job, value in zip(self.rows, predicted)
            if job.seed == first[self.bits[job]]
        }

    @cached_property
    def spread(self) -> Spread:
        """The test accuracies, taken apart."""
        return spread_of({job: row['accuracy'] for job, row in self.rows.items()})

    @cached_property
    def _model(self) -> MaskModel:
        spread = self.spread
        values = [
            row['accuracy'] - spread.shifts.get(job.seed, 0.0)
            for job, row in self.rows.items()
        ]
        noise = spread.noise if spread.noise > 0 else None
        return MaskModel(self.num_bits, noise=noise).fit(
            [self.bits[job] for job in self.rows], values
        )

    def _values(
        self, column: str, sign: int, epoch: int
    ) -> Dict[Tuple[Bits, int], float]:
        values: Any = [
            sign * float(row[column].split()[epoch]) for row in self.rows.values()
        ]
        # a bit worse than the worst other one, where a training has diverged
        values = clip_outliers(np.array(values), np.zeros(len(values)))
        shifts = spread_of(dict(zip(self.rows, values.tolist()))).shifts
        return {
            (self.bits[job], job.seed): float(value - shifts.get(job.seed, 0.0))
            for job, value in zip(self.rows, values)
        }


class TrainedBench:
    """Trains masks by looking up what their trainings have measured.

    It answers as :class:`~simulator.SimulatedTraining` does. Which of the trainings of
    a mask it is that a replay sees depends on the replay's seed.

    Args:
        rows: The bench.
        measure: What to measure, one of :data:`MEASURES`; losses are negative.
        seed: Seed of the replay.
    """

    def __init__(self, rows: BenchRows, measure: str = ACCURACY, seed: int = 0) -> None:
        self.rows = rows
        self.measure = measure
        self.num_bits = rows.num_bits
        self.epochs = rows.epochs
        rng = np.random.default_rng([seed, 11])
        self._seed = {
            bits: seeds[int(rng.integers(len(seeds)))]
            for bits, seeds in sorted(rows.seeds.items())
        }

    @property
    def truth(self) -> MaskTable:
        """The true test accuracy of each mask, as well as it is known, in percent."""
        return self.rows.truth

    @property
    def best_reward(self) -> float:
        """The highest true accuracy, in percent."""
        return self.truth.best_reward

    @property
    def spread(self) -> float:
        """Standard deviation of the true accuracies, in points."""
        return self.truth.spread

    @property
    def offered(self) -> List[Bits]:
        """The masks that have a training, in the order of binary numbers."""
        return list(self._seed)

    def __contains__(self, mask: Bits) -> bool:
        return mask in self._seed

    def __call__(self, mask: Sequence[int], share: float = 1.0) -> float:
        """Return what was measured of a mask after a share of the epochs.

        Raises:
            ValueError: The mask has no training.
        """
        bits = tuple(mask)
        if bits not in self._seed:
            raise EANError(f'the bench has no training of {bits}')
        epoch = max(round(share * self.epochs), 1)
        return self.rows.values[self.measure][epoch - 1][bits, self._seed[bits]]
