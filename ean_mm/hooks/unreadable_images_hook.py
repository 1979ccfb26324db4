"""Say how many training images cannot be read."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ean_mm.errors import one_line


@HOOKS.register_module()
class UnreadableImagesHook(Hook):
    """Counts and names in the log what ``HeldOutSplit`` had to replace, each epoch."""

    priority = 'HIGH'

    def __init__(self) -> None:
        self._num_known = 0

    def after_train_epoch(self, runner: Runner) -> None:
        unreadable = getattr(runner.train_dataloader.dataset, 'unreadable', [])
        if len(unreadable) > self._num_known:
            self._num_known = len(unreadable)
            runner.logger.warning(
                f'{len(unreadable)} training images cannot be read, and others took '
                f'their places: {one_line(", ".join(unreadable))}'
            )
