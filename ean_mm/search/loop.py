"""The search loop: ask for masks, judge the unknown ones, tell the rewards."""

import json
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ean_mm.errors import EANError
from ean_mm.search.evaluation.base import Evaluation, Measurement
from ean_mm.search.evaluation.cost import CostTable
from ean_mm.search.evaluation.metric_reader import MetricReader
from ean_mm.search.evaluation.reward import Reward
from ean_mm.search.history import History, Judgement, Request
from ean_mm.search.processes import on_main_process
from ean_mm.search.records import from_entry, names_of, to_entry
from ean_mm.search.space import SearchSpace
from ean_mm.search.storage import Record, SearchStorage
from ean_mm.search.strategies.base import BaseSearcher, bits_of

Measured = Dict[Request, Measurement]
Step = Tuple[List[Request], List[Request]]
"""the masks of a step, and those of them that are not known yet"""


@dataclass(eq=False)
class MaskSearch:
    """Searches the mask with the best reward.

    Rank 0 of a distributed launch asks, learns and writes; all ranks judge.

    Args:
        space: The model's masks.
        searcher: The strategy, which asks for masks and learns from their rewards.
        evaluator: Judges masks: in a supernet, or by training them.
        reward: Turns its metrics into a reward.
        storage: Keeps the history and the state.
        settings: What else rewards depend on, as text; a search with other settings is
            not resumed.
        on_step: Called on every rank with the record of each finished step.
    """

    space: SearchSpace
    searcher: BaseSearcher
    evaluator: Evaluation
    reward: Reward
    storage: SearchStorage
    settings: str = ''
    on_step: Optional[Callable[[Record], None]] = None

    def __post_init__(self) -> None:
        self.cost: Optional[CostTable] = None
        self._reader = MetricReader(
            self.reward, getattr(self.evaluator, 'evaluator', None)
        )

    @property
    def history(self) -> History:
        """What was judged and told."""
        return self.searcher.history

    def run(self, resume: bool = False) -> Judgement:
        """Search, or continue a search, to the end.

        Args:
            resume: Continue the search that is stored, if there is one.

        Returns:
            The judgement with the best reward, at the full budget. The strategy's mode
            is judged at the end and competes; a strategy that weighs its measurements
            (:attr:`BaseSearcher.recommends`) has the last word.

        Raises:
            ValueError: The stored search is another one or unreadable; a metric is
                missing or not finite.
        """
        facts = dict(
            search_space=self.space.describe(),
            reward=vars(self.reward),
            searcher={'type': type(self.searcher).__name__, **self.searcher.describe()},
        )
        self.fingerprint = {
            **self.evaluator.fingerprint(),
            **{part: json.dumps(each, default=str) for part, each in facts.items()},
            'evaluation': self.settings,
        }
        on_main_process(self._start, resume)
        step: Optional[Step] = on_main_process(self._next)
        while step is not None:
            requests, unknown = step
            measured = dict(zip(unknown, self.evaluator.judge(unknown)))
            record, step = on_main_process(self._learn, requests, measured)
            if self.on_step is not None:
                self.on_step(record)
        best = on_main_process(self.best)
        self.space.apply(best.bits)
        return best

    def best(self) -> Judgement:
        """Return the judgement to end with.

        It is that of the strategy's mode if the strategy weighs its measurements, else
        the one with the best reward; of equal ones the first, of several budgets the
        largest.
        """
        judged = list(self.history)
        if self.searcher.recommends:
            mode = self.searcher.mode()
            judged = [known for known in judged if known.bits == mode] or judged
        return max(judged, key=lambda known: (known.budget or 0, known.reward))

    def _start(self, resume: bool) -> None:
        self.searcher.prepare(self.evaluator.budgets)
        self.searcher.join(self.fingerprint)
        state = self.storage.load(self.fingerprint) if resume else None
        if state is None:
            if self.reward.cost is not None:
                self.cost = self.evaluator.measure_cost(self.reward)
            self.storage.start(self._state())
            self.evaluator.begin()
            return
        if state['cost'] is not None:  # a second measurement would differ
            self.cost = CostTable(state['cost'])
        self.searcher.load_state_dict(state['searcher'])
        records = self.storage.read_history()
        done = [record for record in records if record['step'] < self.searcher.step]
        if len(done) != self.searcher.step:
            raise EANError(
                f'{self.storage.history_path} has {len(done)} of the '
                f'{self.searcher.step} steps that {self.storage.state_path.name} has '
                'seen; start afresh without --resume'
            )
        entries = [entry for record in records for entry in record['masks']]
        self._remember(dict(from_entry(self.space, entry) for entry in entries))
        self.storage.rewrite_history(done)

    def _is_done(self) -> bool:
        """Whether the strategy has had all of its steps."""
        return self.searcher.step >= self.searcher.num_steps

    def _next(self) -> Step:
        """Ask for the masks of a step; after the last one, for the strategy's mode."""
        masks = [self.searcher.mode()] if self._is_done() else self.searcher.ask()
        requests = [self._request(asked) for asked in masks]
        known = self.history.judgements
        return requests, [r for r in dict.fromkeys(requests) if r not in known]

    def _request(self, asked: Any) -> Request:
        """Complete what a strategy asked for by the evaluation's full budget."""
        budgets = self.evaluator.budgets
        budget = asked.budget if isinstance(asked, Request) else None
        if budget is None and budgets:
            budget = budgets[-1]
        return Request(bits_of(asked), budget)

    def _learn(
        self, requests: List[Request], measured: Measured
    ) -> Tuple[Record, Optional[Step]]:
        """Tell the strategy the rewards, store the step and ask for the next masks.

        All in one, for every word between the ranks takes a millisecond.
        """
        self._remember(measured)
        searcher, step, is_done = self.searcher, self.searcher.step, self._is_done()
        known = [self.history.judgements[request] for request in requests]
        told_before = set(self.history.told)
        masks = [judgement.bits for judgement in known]
        rewards = [judgement.reward for judgement in known]
        facts: Dict[str, Any]
        if is_done:  # a search that is resumed does this again
            state = self._state()
            self.history.tell(masks, rewards)
            facts = dict(probabilities=searcher.probabilities(), policy_mode=True)
        else:
            metrics = [judgement.metric for judgement in known]
            facts = dict(
                probabilities=searcher.probabilities(),  # that the masks had
                **searcher.tell(masks, rewards, metrics),
            )
            state = self._state()
        record = dict(self._record(step, requests, told_before), **facts)
        self.storage.append(record, state)
        return record, None if is_done else self._next()

    def _record(
        self, step: int, requests: Sequence[Request], told_before: Any
    ) -> Record:
        entries = []
        for asked in requests:
            entries.append(
                dict(
                    to_entry(self.space, asked, self.history.judgements[asked]),
                    known=asked.bits in told_before,
                )
            )
            told_before.add(asked.bits)
        best = self.best()
        return dict(
            step=step,
            masks=entries,
            best=dict(mask=names_of(self.space, best.bits), reward=best.reward),
            known_share=1 - len(self.history.told) / len(self.history.draws),
        )

    def _remember(self, measured: Measured) -> None:
        """Add judgements of what was measured to the history."""
        completed = self._reader.read(measured.values())
        for request, measurement in zip(measured, completed):
            percent = measurement.percent
            assert percent is not None
            sparsity = self.space.sparsity(request.bits)
            cost = None if self.cost is None else self.cost.percent(request.bits)
            score = measurement.score(percent, self.evaluator.measure)
            judgement = Judgement(
                request.bits,
                percent,
                sparsity,
                cost,
                self.reward(score, sparsity, cost or 0.0),
                measurement.iterations,
                measurement.loss,
                measurement.train_loss,
                measurement.curve,
                measurement.diverged,
                measurement.unreported,
            )
            self.history.judgements[request] = judgement

    def _state(self) -> Dict[str, Any]:
        return dict(
            searcher=self.searcher.state_dict(),
            cost=None if self.cost is None else self.cost.entries,
            fingerprint=self.fingerprint,
        )
