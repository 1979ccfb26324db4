"""The search loop: ask for masks, evaluate the unknown ones, tell the rewards."""

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Protocol, Sequence, Tuple

from mmengine.dist import broadcast_object_list, is_main_process

from ean_mm.errors import EANError
from ean_mm.search.cost import CostTable
from ean_mm.search.evaluator import MaskEvaluator
from ean_mm.search.reward import Reward
from ean_mm.search.space import Bits, SearchSpace
from ean_mm.search.storage import Record, SearchStorage

Metrics = Dict[Bits, Dict[str, float]]


class Searcher(Protocol):
    """What the loop needs of a searcher; see ``RLController`` for one."""

    num_steps: int
    step: int
    seed: int

    def ask(self) -> List[Bits]: ...

    def tell(
        self,
        masks: Sequence[Bits],
        rewards: Sequence[float],
        metrics: Optional[Sequence[float]] = None,
    ) -> Dict[str, float]: ...

    def mode(self) -> Bits: ...

    def describe(self) -> Dict[str, Any]: ...

    def probabilities(self) -> List[float]: ...

    def state_dict(self) -> Dict[str, Any]: ...

    def load_state_dict(self, state: Dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Evaluation:
    """What is known of one mask."""

    bits: Bits
    metric: float
    """the metric, in percent"""
    sparsity: float
    """fraction of blocks without attention"""
    cost: Optional[float]
    """what attention adds to the plain network, in percent; None if no cost counts"""
    reward: float


class MaskSearch:
    """Searches the mask with the best reward.

    Rank 0 of a distributed launch draws, learns and writes; all ranks evaluate.

    Args:
        space: The model's masks.
        searcher: Draws masks and learns from their rewards.
        evaluator: Evaluates a mask on the reward set.
        reward: Turns its metrics into a reward.
        storage: Keeps the history and the state.
        settings: What else rewards depend on; a search with other settings is not
            resumed.
        on_step: Called on every rank with the record of each finished step.
    """

    def __init__(
        self,
        space: SearchSpace,
        searcher: Searcher,
        evaluator: MaskEvaluator,
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
        self.evaluations: Dict[Bits, Evaluation] = {}
        self._drawn: Dict[Bits, None] = {}  # in order, which decides ties
        self.num_draws = 0
        """masks drawn, known ones among them"""

    def run(self, resume: bool = False) -> Evaluation:
        """Search, or continue a search, to the end.

        Args:
            resume: Continue the search that is stored, if there is one.

        Returns:
            The evaluation with the best reward. The policy's mode is evaluated at the
            end and competes.

        Raises:
            ValueError: The stored search is another one or unreadable; a metric is
                missing or not finite.
        """
        self.fingerprint = dict(
            self.evaluator.fingerprint(),
            search_space=str(self.space.describe()),
            reward=str(vars(self.reward)),
            evaluation=self.settings,
            searcher=str(
                dict(type=type(self.searcher).__name__, **self.searcher.describe())
            ),
        )
        _on_main_process(self._start, resume)
        masks, unknown = _on_main_process(self._next)
        while masks is not None:
            record, masks, unknown = _on_main_process(
                self._learn, masks, self._evaluate(unknown)
            )
            self._report(record)
        self._report(_on_main_process(self._finish, self._evaluate(unknown)))
        best = _on_main_process(self.best)
        self.space.apply(best.bits)
        return best

    def best(self) -> Evaluation:
        """Return the evaluation with the best reward; of equal ones the first."""
        return max(self.evaluations.values(), key=lambda known: known.reward)

    def _start(self, resume: bool) -> None:
        state = self.storage.load(self.fingerprint) if resume else None
        if state is None:
            if self.reward.cost is not None:
                self.cost = self.evaluator.measure_cost(self.reward.cost)
            self.storage.start(self._state())
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
        for record in records:
            for entry in record['masks']:
                self._remember(self.space.join(entry['mask']), entry['metric'])
        for record in done:
            for entry in record['masks']:
                self._draw(self.space.join(entry['mask']))
        self.storage.rewrite_history(done)

    def _evaluate(self, masks: Sequence[Bits]) -> Metrics:
        return dict(zip(masks, self.evaluator.evaluate(masks)))

    def _next(self) -> Tuple[Optional[Sequence[Bits]], List[Bits]]:
        """Draw the masks of a step; return them and those that are not known yet.

        After the last step there are none, and the policy's mode is to be evaluated.
        """
        masks = None
        if self.searcher.step < self.searcher.num_steps:
            masks = self.searcher.ask()
        due = [self.searcher.mode()] if masks is None else masks
        unknown = [bits for bits in dict.fromkeys(due) if bits not in self.evaluations]
        return masks, unknown

    def _learn(
        self, masks: Sequence[Bits], metrics: Metrics
    ) -> Tuple[Record, Optional[Sequence[Bits]], List[Bits]]:
        """Tell the searcher the rewards, store the step and draw the next one's masks.

        All in one, for every word between the ranks takes a millisecond.
        """
        self._remember_metrics(metrics)
        step, probabilities = self.searcher.step, self.searcher.probabilities()
        known = [self.evaluations[bits] for bits in masks]
        rewards = [evaluation.reward for evaluation in known]
        percents = [evaluation.metric for evaluation in known]
        facts = self.searcher.tell(masks, rewards, percents)
        record = dict(self._record(step, masks), probabilities=probabilities, **facts)
        self.storage.append(record, self._state())
        return record, *self._next()

    def _finish(self, metrics: Metrics) -> Record:
        """Store the evaluation of the policy's mode."""
        self._remember_metrics(metrics)
        mode = self.searcher.mode()
        record = dict(
            self._record(self.searcher.step, [mode]),
            probabilities=self.searcher.probabilities(),
            policy_mode=True,
        )
        self.storage.append(record, self._state())
        return record

    def _record(self, step: int, masks: Sequence[Bits]) -> Record:
        entries = []
        for bits in masks:
            known, evaluation = self._draw(bits), self.evaluations[bits]
            entries.append(
                dict(
                    mask=self._names(bits),
                    metric=evaluation.metric,
                    sparsity=evaluation.sparsity,
                    **({} if evaluation.cost is None else dict(cost=evaluation.cost)),
                    reward=evaluation.reward,
                    known=known,
                )
            )
        best = max(
            (self.evaluations[bits] for bits in self._drawn),
            key=lambda known: known.reward,
        )
        return dict(
            step=step,
            masks=entries,
            best=dict(mask=self._names(best.bits), reward=best.reward),
            known_share=1 - len(self._drawn) / self.num_draws,
        )

    def _names(self, bits: Bits) -> Dict[str, str]:
        return {name: str(mask) for name, mask in self.space.split(bits).items()}

    def _draw(self, bits: Bits) -> bool:
        """Count a drawn mask; return whether it had been drawn before."""
        known = bits in self._drawn
        self._drawn[bits] = None
        self.num_draws += 1
        return known

    def _remember_metrics(self, metrics: Metrics) -> None:
        for bits, of_mask in metrics.items():
            self._remember(bits, self.reward.percent(of_mask))

    def _remember(self, bits: Bits, percent: float) -> None:
        sparsity = self.space.sparsity(bits)
        cost = None if self.cost is None else self.cost.percent(bits)
        reward = self.reward(percent, sparsity, cost or 0.0)
        self.evaluations[bits] = Evaluation(bits, percent, sparsity, cost, reward)

    def _state(self) -> Dict[str, Any]:
        return dict(
            searcher=self.searcher.state_dict(),
            cost=None if self.cost is None else self.cost.state_dict(),
            fingerprint=self.fingerprint,
        )

    def _report(self, record: Record) -> None:
        if self.on_step is not None:
            self.on_step(record)


def _on_main_process(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function on rank 0 and return its result, or raise its error, on all."""
    outcome: List[Any] = [None, None]
    if is_main_process():
        try:
            outcome[0] = function(*args)
        except EANError as error:
            outcome[1] = error
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]
