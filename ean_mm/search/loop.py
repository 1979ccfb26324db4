"""The search loop: ask for masks, judge the unknown ones, tell the rewards."""

import json
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ean_mm.errors import EANError
from ean_mm.search.evaluation.base import Evaluation, Measurement
from ean_mm.search.evaluation.cost import CostTable
from ean_mm.search.evaluation.metric_reader import MetricReader
from ean_mm.search.evaluation.reward import Reward
from ean_mm.search.history import History, Judgement, Request
from ean_mm.search.processes import on_main_process
from ean_mm.search.records import from_entry, names_of, to_entry
from ean_mm.search.space import Bits, SearchSpace
from ean_mm.search.storage import Record, SearchStorage
from ean_mm.search.strategies.base import Searcher, bits_of

Measured = Dict[Request, Measurement]


class MaskSearch:
    """Searches the mask with the best reward.

    It owns the :class:`~ean_mm.search.history.History`. Rank 0 of a distributed launch
    asks, learns and writes; all ranks judge.

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

    def __init__(
        self,
        space: SearchSpace,
        searcher: Searcher,
        evaluator: Evaluation,
        reward: Reward,
        storage: SearchStorage,
        settings: str = '',
        on_step: Optional[Callable[[Record], None]] = None,
    ) -> None:
        self.space = space
        self.searcher = searcher
        self.evaluator = evaluator
        self.reward = reward
        self.storage = storage
        self.settings = settings
        self.on_step = on_step
        self.cost: Optional[CostTable] = None
        self.history = History()
        self._reader = MetricReader(reward, getattr(evaluator, 'evaluator', None))
        self._told_by_loop = not hasattr(searcher, 'history')

    def run(self, resume: bool = False) -> Judgement:
        """Search, or continue a search, to the end.

        Args:
            resume: Continue the search that is stored, if there is one.

        Returns:
            The judgement with the best reward, at the full budget. The strategy's mode
            is judged at the end and competes; a strategy that weighs its measurements
            (:attr:`recommends`) has the last word.

        Raises:
            ValueError: The stored search is another one or unreadable; a metric is
                missing or not finite.
        """
        self.fingerprint = {
            **self.evaluator.fingerprint(),
            **{
                part: json.dumps(facts, default=str)
                for part, facts in dict(
                    search_space=self.space.describe(),
                    reward=vars(self.reward),
                    searcher=dict(
                        type=type(self.searcher).__name__, **self.searcher.describe()
                    ),
                ).items()
            },
            'evaluation': self.settings,
        }
        on_main_process(self._start, resume)
        requests, unknown = on_main_process(self._next)
        while requests is not None:
            record, requests, unknown = on_main_process(
                self._learn, requests, self._judge(unknown)
            )
            self._report(record)
        self._report(on_main_process(self._finish, self._judge(unknown)))
        best = on_main_process(self.best)
        self.space.apply(best.bits)
        return best

    def best(self) -> Judgement:
        """Return the judgement to end with.

        It is that of the strategy's mode if the strategy weighs its measurements, else
        the one with the best reward; of equal ones the first.
        """
        if getattr(self.searcher, 'recommends', False):
            known = self.known(self.searcher.mode())
            if known is not None:
                return known
        full = self.history.full_budget()
        judged = [known for known in self.history if known.budget == full]
        return max(judged, key=lambda known: known.reward)

    def known(self, bits: Bits) -> Optional[Judgement]:
        """Return what is known of a mask at its largest budget."""
        judged = [known for known in self.history if known.bits == bits]
        return max(judged, key=lambda known: known.budget or 0, default=None)

    def _start(self, resume: bool) -> None:
        self._hand_history()
        if hasattr(self.searcher, 'prepare'):
            self.searcher.prepare(self.evaluator.budgets)
        if hasattr(self.searcher, 'join'):
            self.searcher.join(self.fingerprint)
        state = self.storage.load(self.fingerprint) if resume else None
        if state is None:
            if self.reward.cost is not None:
                self.cost = self.evaluator.measure_cost(self.reward.cost)
            self.storage.start(self._state())
            self.evaluator.begin()
            return
        if state['cost'] is not None:  # a second measurement would differ
            self.cost = CostTable.from_state(state['cost'])
        self.searcher.load_state_dict(state['searcher'])
        records = self.storage.read_history()
        done = [record for record in records if record['step'] < self.searcher.step]
        if len(done) != self.searcher.step:
            raise EANError(
                f'{self.storage.history_path} has {len(done)} of the '
                f'{self.searcher.step} steps that {self.storage.state_path.name} has '
                'seen; start afresh without --resume'
            )
        self.history = History()
        self._hand_history()
        entries = [entry for record in records for entry in record['masks']]
        self._remember_all(dict(from_entry(self.space, entry) for entry in entries))
        for record in done:
            told = [from_entry(self.space, entry)[0] for entry in record['masks']]
            rewards = [self.history.judgements[request].reward for request in told]
            self.history.tell([request.bits for request in told], rewards)
        self.storage.rewrite_history(done)

    def _hand_history(self) -> None:
        if not self._told_by_loop:
            setattr(self.searcher, 'history', self.history)  # noqa: B010

    def _judge(self, requests: Sequence[Request]) -> Measured:
        return dict(zip(requests, self.evaluator.judge(requests)))

    def _next(self) -> Tuple[Optional[List[Request]], List[Request]]:
        """Ask for the masks of a step; return them and those that are not known yet.

        After the last step there are none, and the strategy's mode is to be judged.
        """
        requests = None
        if self.searcher.step < self.searcher.num_steps:
            requests = [self._request(asked) for asked in self.searcher.ask()]
        due = [self._request(self.searcher.mode())] if requests is None else requests
        unknown = [
            request
            for request in dict.fromkeys(due)
            if request not in self.history.judgements
        ]
        return requests, unknown

    def _request(self, asked: Any) -> Request:
        """Complete what a strategy asked for by the evaluation's full budget."""
        budgets = self.evaluator.budgets
        budget = asked.budget if isinstance(asked, Request) else None
        if budget is None and budgets:
            budget = budgets[-1]
        return Request(bits_of(asked), budget)

    def _learn(
        self, requests: List[Request], measured: Measured
    ) -> Tuple[Record, Optional[List[Request]], List[Request]]:
        """Tell the strategy the rewards, store the step and ask for the next masks.

        All in one, for every word between the ranks takes a millisecond.
        """
        self._remember_all(measured)
        step, probabilities = self.searcher.step, self.searcher.probabilities()
        known = [self.history.judgements[request] for request in requests]
        told_before = set(self.history.told)
        masks = [judgement.bits for judgement in known]
        rewards = [judgement.reward for judgement in known]
        facts = self.searcher.tell(masks, rewards, [each.metric for each in known])
        if self._told_by_loop:
            self.history.tell(masks, rewards)
        record = dict(
            self._record(step, requests, told_before),
            probabilities=probabilities,
            **facts,
        )
        self.storage.append(record, self._state())
        return record, *self._next()

    def _finish(self, measured: Measured) -> Record:
        """Store the judgement of the strategy's mode."""
        self._remember_all(measured)
        asked = self._request(self.searcher.mode())
        mode = self.history.judgements[asked]
        told_before = set(self.history.told)
        self.history.tell([mode.bits], [mode.reward])
        record = dict(
            self._record(self.searcher.step, [asked], told_before),
            probabilities=self.searcher.probabilities(),
            policy_mode=True,
        )
        self.storage.append(record, self._state())
        return record

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
            known_share=1 - len(self.history.told) / self.history.num_draws,
        )

    def _remember_all(self, measured: Measured) -> None:
        completed = self._reader.read(measured.values())
        for request, measurement in zip(measured, completed):
            self._remember(request, measurement)

    def _remember(self, request: Request, measurement: Measurement) -> None:
        percent = measurement.percent
        assert percent is not None
        sparsity = self.space.sparsity(request.bits)
        cost = None if self.cost is None else self.cost.percent(request.bits)
        score = measurement.score(percent, self.evaluator.measure)
        self.history.add(
            Judgement(
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
            ),
            request.budget,
        )

    def _state(self) -> Dict[str, Any]:
        return dict(
            searcher=self.searcher.state_dict(),
            cost=None if self.cost is None else self.cost.state_dict(),
            fingerprint=self.fingerprint,
        )

    def _report(self, record: Record) -> None:
        if self.on_step is not None:
            self.on_step(record)
