"""Hooks for runs in other processes, named in their custom_imports."""

import os
import signal
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
class DieOnceHook(Hook):
    """Kills rank 1 at a step of the search, unless it has been restarted."""

    def __init__(self, step):
        self.step = step

    def after_search_step(self, runner, record):
        first = os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'
        if first and runner.rank == 1 and record['step'] == self.step:
            os.kill(os.getpid(), signal.SIGKILL)
