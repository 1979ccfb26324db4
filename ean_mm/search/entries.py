"""Judgements as entries of the history on disk."""

from typing import Any, Dict, Tuple

from ean_mm.search.evaluation.base import Measurement
from ean_mm.search.history import Judgement, Request
from ean_mm.search.space import Bits


def entry_of(
    asked: Request, judgement: Judgement, masks: Dict[str, str]
) -> Dict[str, Any]:
    """Write a judgement as JSON; what it does not have is left out.

    Args:
        asked: What was asked for: a training may have been stopped before its budget.
        judgement: The judgement.
        masks: The mask of each module, as text.
    """
    optional = dict(
        cost=judgement.cost,
        budget=judgement.budget,
        asked=asked.budget if asked.budget != judgement.budget else None,
        loss=judgement.loss,
        train_loss=judgement.train_loss,
        curve=list(judgement.curve) or None,
        diverged=judgement.diverged or None,
    )
    return dict(
        mask=masks,
        metric=judgement.metric,
        sparsity=judgement.sparsity,
        reward=judgement.reward,
        **{key: value for key, value in optional.items() if value is not None},
    )


def read_entry(entry: Dict[str, Any], bits: Bits) -> Tuple[Request, Measurement]:
    """Read what was asked for and measured back from an entry.

    Args:
        entry: The entry.
        bits: Its mask.
    """
    budget = entry.get('budget')
    return Request(bits, entry.get('asked', budget)), Measurement(
        metrics={},
        percent=entry['metric'],
        loss=entry.get('loss'),
        train_loss=entry.get('train_loss'),
        curve=tuple(entry.get('curve', ())),
        diverged=entry.get('diverged', False),
        iterations=budget,
    )
