"""What a search says while it runs: lines of the log, and scalars."""

import time
from typing import Optional

from mmengine.runner import Runner

from ean_mm.search.evaluation.base import Measurement
from ean_mm.search.evaluation.reward import UNITS
from ean_mm.search.evaluation.supernet import MaskEvaluator
from ean_mm.search.evaluation.trained import TrainedEvaluation
from ean_mm.search.history import Request
from ean_mm.search.loop import MaskSearch
from ean_mm.search.records import step_mean
from ean_mm.search.storage import Record


class SearchLog:
    """Logs a search to a run's log and visualizer, and tells the run's other hooks.

    Args:
        runner: The run.
        interval: Steps between two lines.
    """

    def __init__(self, runner: Runner, interval: int) -> None:
        self.runner = runner
        self.interval = interval
        self._started = time.time()
        self._first_step: Optional[int] = None

    def begin(self, search: MaskSearch, num_images: int) -> None:
        """Log what is searched.

        Args:
            search: The search, which :meth:`step` and :meth:`mask` are of then.
            num_images: How many reward images there are.
        """
        self.search = search
        self.runner.call_hook('before_search', search=search)
        space = search.space
        self.runner.logger.info(
            f'Searching {space.num_bits} bits in {", ".join(space.modules)} on '
            f'{num_images} reward images, {search.searcher.num_steps} steps'
        )
        if space.exceptions():
            self.runner.logger.info(f'Search: {space.exceptions()}')
        if isinstance(search.evaluator, TrainedEvaluation):
            masks = search.searcher.num_steps * search.searcher.masks_per_step
            self.runner.logger.info(search.evaluator.estimate(masks))

    def step(self, record: Record) -> None:
        """Log a finished step."""
        step, best = record['step'], record['best']
        reward, metric = step_mean(record), step_mean(record, 'metric')
        scalars = dict(
            reward=reward,
            metric=metric,
            best_reward=best['reward'],
            known_share=record['known_share'],
        )
        for name in ('loss', 'curiosity', 'baseline'):
            if name in record:
                scalars[name] = record[name]
        self.runner.visualizer.add_scalars(
            {f'search/{name}': value for name, value in scalars.items()}, step=step
        )
        self.runner.call_hook('after_search_step', record=record)
        if self._first_step is None:
            self._first_step = step
        num_steps = self.search.searcher.num_steps
        if (step + 1) % self.interval and step + 1 < num_steps:
            return
        elapsed = time.time() - self._started
        left = max(num_steps - step - 1, 0) / (step + 1 - self._first_step)
        eta = time.strftime('%H:%M:%S', time.gmtime(elapsed * left))
        self.runner.logger.info(
            f'Search [{min(step + 1, num_steps)}/{num_steps}]  '
            f'reward: {reward:.2f}  best: {best["reward"]:.2f} '
            f'({", ".join(best["mask"].values())})  '
            f'known: {record["known_share"]:.0%}  eta: {eta}'
        )

    def mask(self, request: Request, measurement: Measurement) -> None:
        """Log a mask that was trained in this process."""
        masks = ', '.join(map(str, self.search.space.split(request.bits).values()))
        if measurement.diverged:
            facts = 'diverged, which counts as a bad mask'
        else:
            metric = self.search.reward.metric
            value = measurement.metrics.get(metric)
            facts = f'{metric}: none'  # the loop says what that means
            if isinstance(value, (int, float)):
                facts = f'{metric}: {value * UNITS[self.search.reward.unit]:.2f}'
            for name in ('loss', 'train_loss'):
                if getattr(measurement, name) is not None:
                    facts += f'  {name}: {getattr(measurement, name):.4f}'
        self.runner.logger.info(f'Mask {masks}, {request.budget} iterations  {facts}')
        self.runner.call_hook('after_mask', request=request, measurement=measurement)

    def end(self) -> None:
        """Log how many masks have no metric, and what a supernet's evaluation took."""
        history, evaluator = self.search.history, self.search.evaluator
        unreported = sum(known.unreported for known in history)
        if unreported:
            self.runner.logger.warning(
                f'{unreported} of {len(history)} masks have no '
                f'{self.search.reward.metric}, as where nothing is detected, which '
                'counts as 0'
            )
        if not isinstance(evaluator, MaskEvaluator):
            return
        if evaluator.why_alone is not None:
            self.runner.logger.info(
                f'Each mask took a pass of its own: {evaluator.why_alone}'
            )
        summary = evaluator.work.summary(len(history.draws))
        self.runner.logger.info(f'Search: {summary}')
