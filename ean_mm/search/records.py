"""Judgements as entries of a step's record in the history, and back."""

import statistics
from typing import Any, Dict, Mapping, Tuple

from ean_mm.search.evaluation.base import Measurement
from ean_mm.search.history import Judgement, Request
from ean_mm.search.space import Bits, SearchSpace


def names_of(space: SearchSpace, bits: Bits) -> Dict[str, str]:
    """Write the mask of each module."""
    return {name: str(mask) for name, mask in space.split(bits).items()}


def to_entry(space: SearchSpace, asked: Request, known: Judgement) -> Dict[str, Any]:
    """Write a judgement as JSON; what it does not have is left out."""
    optional = dict(
        cost=known.cost,
        budget=known.budget,
        asked=asked.budget if asked.budget != known.budget else None,
        loss=known.loss,
        train_loss=known.train_loss,
        curve=list(known.curve) or None,
        diverged=known.diverged or None,
        unreported=known.unreported or None,
    )
    return dict(
        mask=names_of(space, known.bits),
        metric=known.metric,
        sparsity=known.sparsity,
        reward=known.reward,
        **{key: value for key, value in optional.items() if value is not None},
    )


def from_entry(
    space: SearchSpace, entry: Dict[str, Any]
) -> Tuple[Request, Measurement]:
    """Read back what was measured from an entry of the history."""
    budget = entry.get('budget')
    request = Request(space.join(entry['mask']), entry.get('asked', budget))
    return request, Measurement(
        metrics={},
        percent=entry['metric'],
        loss=entry.get('loss'),
        train_loss=entry.get('train_loss'),
        curve=tuple(entry.get('curve', ())),
        diverged=entry.get('diverged', False),
        iterations=budget,
        unreported=entry.get('unreported', False),
    )


def step_mean(record: Mapping[str, Any], key: str = 'reward') -> float:
    """Return the mean over the masks of a step, of their reward or metric."""
    return statistics.fmean(entry[key] for entry in record['masks'])
