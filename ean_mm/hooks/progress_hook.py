"""Progress bars for training and search."""

from typing import Any, Optional

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from ean_mm.search.evaluation.base import Measurement
from ean_mm.search.history import Request
from ean_mm.search.loop import MaskSearch
from ean_mm.search.records import step_mean
from ean_mm.search.storage import Record


@HOOKS.register_module()
class RichProgressHook(Hook):
    """Shows a bar with the remaining time for training and one for the search.

    Args:
        description: What is being trained, at the left of the bar.
        console: Where to draw; a new one by default.
    """

    priority = 'VERY_LOW'

    def __init__(
        self, description: str = 'training', console: Optional[Console] = None
    ) -> None:
        self.description = description
        self.console = console or Console()
        self.progress: Optional[Progress] = None
        self._masks_per_step = 1

    def _start(self, description: str, total: int, completed: int = 0) -> None:
        self._stop()
        self.progress = Progress(
            TextColumn('{task.description}'),
            BarColumn(bar_width=12),
            TextColumn('{task.completed:.0f}/{task.total:.0f}, eta'),
            TimeRemainingColumn(),
            TextColumn('{task.fields[facts]}', table_column=Column(ratio=1)),
            console=self.console,
            expand=True,
            disable=not is_main_process(),
        )
        self.progress.add_task(description, total=total, completed=completed, facts='')
        self.progress.start()

    def _update(self, **changes: Any) -> None:
        if self.progress is not None:
            self.progress.update(self.progress.task_ids[0], **changes)

    def _stop(self) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def before_train(self, runner: Runner) -> None:
        if runner.max_iters > runner.iter:
            self._start(self.description, runner.max_iters, runner.iter)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        loss = outputs.get('loss') if outputs else None
        facts = '' if loss is None else f'loss {float(loss):.3f}'
        self._update(completed=runner.iter + 1, facts=facts)

    def before_search(self, runner: Runner, search: MaskSearch) -> None:
        # Where a mask takes long, the bar counts masks.
        trains = bool(search.evaluator.budgets)
        self._masks_per_step = search.searcher.masks_per_step if trains else 1
        self._start('mask search', search.searcher.num_steps * self._masks_per_step)

    def after_mask(
        self, runner: Runner, request: Request, measurement: Measurement
    ) -> None:
        self._update(advance=1)

    def after_search_step(self, runner: Runner, record: Record) -> None:
        best = record['best']
        # Without a budget it is no trained network's.
        kind = '' if any('budget' in e for e in record['masks']) else 'supernet '
        steps = record['step'] + (0 if record.get('policy_mode') else 1)
        self._update(
            completed=steps * self._masks_per_step,
            facts=f'{kind}reward {step_mean(record):.2f}, best {best["reward"]:.2f} '
            f'{" ".join(best["mask"].values())}, known {record["known_share"]:.0%}',
        )

    def after_train(self, runner: Runner) -> None:
        self._stop()  # of lowest priority: the search hook has searched by now

    def after_run(self, runner: Runner) -> None:
        self._stop()
