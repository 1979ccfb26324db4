"""Stop the training of masks that are behind, by one of Optuna's pruners."""

import json
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

from mmengine.dist import is_main_process

from ean_mm.errors import EANError, one_line
from ean_mm.fileio import atomic_write
from ean_mm.search.evaluation.base import Measurement
from ean_mm.search.history import Request
from ean_mm.search.optuna_extra import import_optuna
from ean_mm.search.space import Bits

Scores = Dict[int, float]


class StoppingRule:
    """Says at each rung whether a mask's training goes on.

    The masks of a step are compared at a rung once all of them are there, so that the
    decision does not depend on how many processes train them, or which is faster.

    Args:
        pruner: Config of one of Optuna's pruners (https://optuna.org), its name as the
            type.
        path: File to keep the scores in, for a search that is resumed.

    Raises:
        ValueError: Optuna is not installed, or has no such pruner.
    """

    def __init__(self, pruner: Dict[str, Any], path: Path) -> None:
        self._optuna = import_optuna()
        options = dict(pruner)
        name = options.pop('type', '')
        kind = getattr(self._optuna.pruners, str(name), None)
        if not isinstance(kind, type):
            raise EANError(f'Optuna has no pruner {name!r}, as MedianPruner is one')
        try:
            self._pruner = kind(**options)
        except (TypeError, ValueError) as error:
            raise EANError(f'{name} cannot be built: {one_line(error)}') from error
        self._path = path
        self.seen: Dict[Bits, Scores] = self._read()
        """masks of earlier steps, in their order, with their scores at the rungs"""

    def judge(
        self,
        requests: Sequence[Request],
        budgets: Sequence[int],
        train: Callable[[Sequence[Request]], List[Measurement]],
        score: Callable[[Measurement], float],
    ) -> List[Measurement]:
        """Train masks as far as the rule lets them.

        Args:
            requests: The masks, each with the budget that it may reach.
            budgets: All budgets, in ascending order.
            train: Trains masks to their budgets and measures them.
            score: Says of a measurement how good it is; higher is better.

        Returns:
            What was measured last of each mask.
        """
        for request in requests:  # of a step that a kill has cut off
            self.seen.pop(request.bits, None)
        results: Dict[Request, Measurement] = {}
        scores: Dict[Request, Scores] = {request: {} for request in requests}
        going = list(requests)
        for budget in budgets:
            going = [each for each in going if budget <= (each.budget or 0)]
            measured = train([Request(each.bits, budget) for each in going])
            for request, measurement in zip(going, measured):
                results[request] = measurement
                scores[request][budget] = score(measurement)
            stopped = self._stopped([scores[request] for request in going])
            going = [
                request
                for request, measurement, stop in zip(going, measured, stopped)
                if not (stop or measurement.diverged)
            ]
        self.seen.update((request.bits, own) for request, own in scores.items())
        if requests and is_main_process():
            with atomic_write(self._path) as file:
                file.write(json.dumps(list(self.seen.items())).encode())
        return [results[request] for request in requests]

    def _read(self) -> Dict[Bits, Scores]:
        if not self._path.exists():
            return {}
        return {
            tuple(bits): {int(budget): score for budget, score in scores.items()}
            for bits, scores in json.loads(self._path.read_text())
        }

    def _stopped(self, scores: Sequence[Scores]) -> List[bool]:
        """Ask the pruner of each mask that is at a rung, in their order."""
        study = self._optuna.create_study(direction='maximize', pruner=self._pruner)
        for past in self.seen.values():
            self._replay(study, past)
        return [self._replay(study, own, tell=False) for own in scores]

    def _replay(self, study: Any, scores: Scores, tell: bool = True) -> bool:
        trial = study.ask()
        stop = False
        for budget, value in scores.items():
            trial.report(value, step=budget)
            stop = trial.should_prune()
        if tell and scores:
            study.tell(trial, list(scores.values())[-1])
        return stop
