"""What a search says while it runs: lines of the log, and scalars."""

import time
from typing import Optional

from mmengine.runner import Runner

from ean_mm.search.evaluation.base import Measurement
from ean_mm.search.evaluation.reward import UNITS, Reward
from ean_mm.search.evaluation.supernet import MaskEvaluator
from ean_mm.search.history import History, Request
from ean_mm.search.space import SearchSpace
from ean_mm.search.storage import Record


class SearchLog:
    """Logs a search to a run's log and visualizer, and tells the run's other hooks.

    Args:
        runner: The run.
        space: The masks that are searched.
        reward: What they are rewarded for.
        num_steps: Steps of the search.
        interval: Steps between two lines.
    """

    def __init__(
        self,
        runner: Runner,
        space: SearchSpace,
        reward: Reward,
        num_steps: int,
        interval: int,
    ) -> None:
        self.runner = runner
        self.space = space
        self.reward = reward
        self.num_steps = num_steps
        self.interval = interval
        self._started = time.time()
        self._first_step: Optional[int] = None

    def step(self, record: Record) -> None:
        """Log a finished step."""
        step, best, entries = record['step'], record['best'], record['masks']
        reward = sum(entry['reward'] for entry in entries) / len(entries)
        metric = sum(entry['metric'] for entry in entries) / len(entries)
        scalars = dict(
            reward=reward,
            metric=metric,
            best_reward=best['reward'],
            known_share=record['known_share'],
        )
        for key in ('loss', 'curiosity', 'baseline'):
            if key in record:
                scalars[key] = record[key]
        self.runner.visualizer.add_scalars(
            {f'search/{name}': value for name, value in scalars.items()}, step=step
        )
        self.runner.call_hook('after_search_step', record=record)
        if self._first_step is None:
            self._first_step = step
        if (step + 1) % self.interval and step + 1 < self.num_steps:
            return
        elapsed = time.time() - self._started
        done = step + 1 - self._first_step
        eta = elapsed / done * max(self.num_steps - step - 1, 0)
        self.runner.logger.info(
            f'Search [{min(step + 1, self.num_steps)}/{self.num_steps}]  '
            f'reward: {reward:.2f}  best: {best["reward"]:.2f} '
            f'({", ".join(best["mask"].values())})  '
            f'known: {record["known_share"]:.0%}  '
            f'eta: {time.strftime("%H:%M:%S", time.gmtime(eta))}'
        )

    def mask(self, request: Request, measurement: Measurement) -> None:
        """Log a mask that was trained in this process."""
        masks = ', '.join(map(str, self.space.split(request.bits).values()))
        if measurement.diverged:
            facts = 'diverged, which counts as a bad mask'
        else:
            metric = self.reward.metric
            value = measurement.metrics.get(metric)
            facts = f'{metric}: none'  # the loop says what that means
            if isinstance(value, (int, float)):
                facts = f'{metric}: {value * UNITS[self.reward.unit]:.2f}'
            for name in ('loss', 'train_loss'):
                if getattr(measurement, name) is not None:
                    facts += f'  {name}: {getattr(measurement, name):.4f}'
        self.runner.logger.info(f'Mask {masks}, {request.budget} iterations  {facts}')
        self.runner.call_hook('after_mask', request=request, measurement=measurement)

    def unreported(self, history: History) -> None:
        """Log how many masks have no metric."""
        number = sum(known.unreported for known in history)
        if number:
            self.runner.logger.warning(
                f'{number} of {len(history)} masks have no {self.reward.metric}, as '
                'where nothing is detected, which counts as 0'
            )

    def supernet(self, evaluator: MaskEvaluator, num_draws: int) -> None:
        """Log what the evaluation in a supernet took."""
        if evaluator.why_alone is not None:
            self.runner.logger.info(
                f'Each mask took a pass of its own: {evaluator.why_alone}'
            )
        self.runner.logger.info(f'Search: {evaluator.work.summary(num_draws)}')
