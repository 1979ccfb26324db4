"""The scores of all masks in the supernets of a bench, a row each."""

import time
from itertools import product
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from mmengine.config import Config

from ean_mm.errors import EANError
from studies.bench.scores import Score, counted_masks, score_masks
from studies.bench.supernet import SUPERNETS, FineTuning, SupernetTraining, Trained
from studies.bench.table import Bench
from studies.bench.training import Images
from studies.results import Row, Rows
from studies.run import where_and_when

OWN = 'own statistics'
BATCH = 'batch statistics'
AVERAGED = 'snapshots averaged'
TUNED = 'fine-tuned'
SCORES = OWN, BATCH, AVERAGED, TUNED
"""the ways to score masks; the last three have batch statistics of each mask"""

FINE_TUNED = ('balanced, decayed',)
"""supernets that masks are fine-tuned from: that takes as long as 130 epochs"""

COLUMNS: Dict[str, Callable[[str], Any]] = dict(
    protocol=str,  # that of the bench's rows
    attention=str,
    supernet=str,
    scores=str,
    seed=int,
    # of 000-000-000, 000-000-001, and so on, on the reward images, in percent
    accuracies=str,
    losses=str,  # the mean losses on them
    train_epochs=int,  # of the supernet
    mask_epochs=float,  # time of scoring a mask, in epochs of the supernet's training
    epoch_seconds=float,  # of the processor
    date=str,
    machine=str,
    threads=int,
    torch=str,
)


def read_supernets(path: Path, protocol: str) -> Rows:
    """Read a file of supernets, which may not exist yet.

    Raises:
        ValueError: It has rows of another protocol.
    """
    rows = Rows(path, COLUMNS)
    for row in rows.rows:
        if row['protocol'] != protocol:
            raise EANError(
                f'{path} has supernets of another protocol ({row["protocol"]}) than '
                f'this one ({protocol}); name another file'
            )
    return rows


def score_supernets(
    bench: Bench,
    path: Path,
    supernets: Sequence[str],
    seeds: Sequence[int],
    ways: Sequence[str] = SCORES,
) -> Iterator[Row]:
    """Train supernets and score all masks in them, as far as there is no row yet.

    Args:
        bench: The bench.
        path: File of the rows.
        supernets: Names of the supernets.
        seeds: Their seeds.
        ways: Ways to score masks.

    Yields:
        Each row, which is on the disk by then.
    """
    images: Optional[Images] = None
    # A supernet is trained anew to fine-tune in it, which takes the longest.
    for group, seed, name in product((SCORES[:-1], SCORES[-1:]), seeds, supernets):
        rows = read_supernets(path, bench.hash)
        missing = [
            scores
            for scores in group
            if scores in ways
            and not has_scores(rows, bench, name, scores, seed)
            and (scores != TUNED or name in FINE_TUNED)
        ]
        if not missing:
            continue
        cfg = bench.config(seed)
        training = SupernetTraining(cfg, seed, SUPERNETS[name], images)
        images = training.images
        trained = training.states()
        for scores in missing:
            started = time.process_time()
            found = _score(training, trained, scores, cfg)
            spent = (time.process_time() - started) / len(found)
            row = dict(
                protocol=bench.hash,
                attention=bench.attention,
                supernet=name,
                scores=scores,
                seed=seed,
                **_written(found),
                train_epochs=training.epochs,
                mask_epochs=round(spent / trained.epoch_seconds, 6),
                epoch_seconds=round(trained.epoch_seconds, 3),
                **where_and_when(),
            )
            rows.append(row)
            yield row


def _score(
    training: SupernetTraining, trained: Trained, scores: str, cfg: Config
) -> List[Score]:
    """Score all masks in one way."""
    masks, images = counted_masks(), training.images
    if scores == OWN:
        network = training.network(trained.last)
        return score_masks(network, masks, images.measured['reward'])
    calibration = training.calibration_images()
    if scores == TUNED:
        tuning = FineTuning(cfg, training.seed, trained.last, images)
        return tuning.scores(masks, calibration)
    state = trained.mean if scores == AVERAGED else trained.last
    network = training.network(state)
    return score_masks(network, masks, images.measured['reward'], calibration)


def has_scores(rows: Rows, bench: Bench, supernet: str, scores: str, seed: int) -> bool:
    """Whether masks have been scored so in a supernet."""
    key = bench.attention, supernet, scores, seed
    return any(
        (r['attention'], r['supernet'], r['scores'], r['seed']) == key
        for r in rows.rows
    )


def _written(scores: List[Score]) -> Row:
    return dict(
        accuracies=' '.join(f'{accuracy:.1f}' for accuracy, _ in scores),
        losses=' '.join(f'{loss:.4f}' for _, loss in scores),
    )
