"""Refuse labels that a model has no output for."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ean_mm.datasets.labels import require_labels
from ean_mm.models.masked import unwrapped


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """Compares the data sets' labels with the model's outputs, before training.

    On a GPU such a label ends in an assertion of the device, without its name.
    """

    priority = 'ABOVE_NORMAL'

    def before_train(self, runner: Runner) -> None:
        loaders = dict(train_dataloader=runner.train_dataloader)
        if runner.val_loop is not None:
            loaders['val_dataloader'] = runner.val_loop.dataloader
        for name, loader in loaders.items():
            require_labels(unwrapped(runner.model), loader.dataset, name)
