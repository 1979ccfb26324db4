"""Hooks for runs in other processes, named in their custom_imports."""

import os
import signal
from functools import partial
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class RecordMasksHook(Hook):
    """Writes the mask of every training iteration to a file of its rank's own."""

    priority = 'LOW'

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        model = getattr(runner.model, 'module', runner.model)
        with open(Path(runner.work_dir, f'masks_rank{get_rank()}.txt'), 'a') as file:
            file.write(f'{runner.iter} {model.backbone.mask}\n')


@HOOKS.register_module()
class DieHook(Hook):
    """Kills rank 1 once in training and once in the search.

    A file in the folder says that it has been done.
    """

    def __init__(self, folder):
        self.folder = folder

    def _die(self, where):
        done = Path(self.folder, f'died_in_{where}')
        if get_rank() == 1 and not done.exists():
            done.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.epoch == 1 and batch_idx == 1:
            self._die('training')

    def after_search_step(self, runner, record):
        if record['step'] == 2:
            self._die('search')


@HOOKS.register_module()
class DieInSaveHook(Hook):
    """Kills the process before an operation on files, when it saves an epoch.

    Args:
        number: Which one of the operations, from 0; -1 for none.
        operation: The name that it has in ``os``.
    """

    def __init__(self, epoch, number=-1, operation=''):
        self.epoch, self.number, self.operation = epoch, number, operation

    def before_save_checkpoint(self, runner, checkpoint):
        if checkpoint['meta']['epoch'] == self.epoch:
            self.count = 0
            for name in ('fsync', 'replace', 'remove'):
                setattr(os, name, partial(self._call, name, getattr(os, name)))

    def _call(self, name, function, *args):
        if self.count == self.number:
            assert name == self.operation
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1
        return function(*args)


@HOOKS.register_module()
class DieInMaskHook(Hook):
    """Kills rank 1 once, when it has trained a mask.

    A file in the folder says that it has been done.
    """

    def __init__(self, folder):
        self.done = Path(folder, 'died_in_masks')

    def after_mask(self, runner, request, measurement):
        if not self.done.exists():
            self.done.touch()
            os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module()
class TurnHook(Hook):
    """Turns the images of every batch upside down while a run validates."""

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        data_batch['inputs'] = [image.flip(1) for image in data_batch['inputs']]
