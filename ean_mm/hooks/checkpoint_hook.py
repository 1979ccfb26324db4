"""Checkpoints that survive a kill at any moment."""

import os
from pathlib import Path
from typing import Any, Dict, List, Optional

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner

from ean_mm.fileio import atomic_write, remove_unfinished
from ean_mm.hooks.companions import bring
from ean_mm.hooks.reseed_hook import ReseedHook
from ean_mm.hooks.resume_check_hook import ResumeCheckHook


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """Saves checkpoints that a kill cannot damage.

    A checkpoint and ``last_checkpoint`` are written as a whole or not at all, and what
    ``max_keep_ckpts`` or ``save_best`` outdates is removed after that. mmengine's hook
    removes it before. A run that goes on in another work dir removes nothing in the
    old one, where mmengine's hook removes the best checkpoint.

    If ``save_best`` is set, a resumed run does the validation after the checkpoint
    again, for the kill may have come before its end. With the hook come
    :class:`ReseedHook`, by which resuming is exact, and :class:`ResumeCheckHook`.

    The arguments are those of :class:`mmengine.hooks.CheckpointHook`.
    """

    backend_args: Any
    file_backend: Any

    def before_run(self, runner: Runner) -> None:
        bring(runner, ReseedHook, ResumeCheckHook)

    def before_train(self, runner: Runner) -> None:
        local = '://' not in str(self.out_dir or runner.work_dir)
        if local and self.backend_args is None and self.file_client_args is None:
            self.backend_args = dict(backend='atomic')
        super().before_train(runner)
        # what the run that is resumed was about to remove
        outdated = runner.message_hub.runtime_info.get('outdated_ckpts', [])
        self.file_backend = _LateRemoval(self.file_backend, self.out_dir, outdated)
        if is_main_process():
            self.file_backend.remove_now()
            if local:
                remove_unfinished(self.out_dir)
        if runner._resume and runner._has_loaded:
            self.last_ckpt = runner._load_from
            if self.save_best and _validation_is_due(runner):
                runner.val_loop.run()

    def _save_checkpoint_with_step(
        self, runner: Runner, step: int, meta: Dict[str, Any]
    ) -> None:
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                self.file_backend.remove(self._path(self.keep_ckpt_ids.popleft()))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self.last_ckpt = self._path(step)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.message_hub.update_info('outdated_ckpts', self.file_backend.outdated)
        runner.save_checkpoint(
            self.out_dir,
            self.filename_tmpl.format(step),
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            with atomic_write(Path(runner.work_dir, 'last_checkpoint')) as file:
                file.write(self.last_ckpt.encode())
            self.file_backend.remove_now()

    def after_val_epoch(
        self, runner: Runner, metrics: Optional[Dict[str, float]] = None
    ) -> None:
        # Runner.val() alone trains nothing that could be saved; mmengine's hook ends
        # there in an AttributeError.
        if hasattr(self, 'file_backend'):
            super().after_val_epoch(runner, metrics)

    def _save_best_checkpoint(self, runner: Runner, metrics: Dict[str, Any]) -> None:
        super()._save_best_checkpoint(runner, metrics)
        if is_main_process():
            self.file_backend.remove_now()

    def _path(self, step: int) -> str:
        return self.file_backend.join_path(
            self.out_dir, self.filename_tmpl.format(step)
        )


class _LateRemoval:
    """A file backend that removes files of a folder when it is told to, not before.

    mmengine's hook removes a checkpoint before it writes what takes its place.

    Args:
        backend: The backend.
        folder: The folder. What lies elsewhere is another run's, and stays.
        outdated: Files to remove.
    """

    def __init__(self, backend: Any, folder: str, outdated: List[str]) -> None:
        self._backend = backend
        self._folder = folder
        self.outdated = list(outdated)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self.outdated.append(path)

    def remove_now(self) -> None:
        folder = os.path.realpath(self._folder)
        for path in self.outdated:
            own = os.path.realpath(os.path.dirname(path)) == folder
            if own and self._backend.isfile(path):
                self._backend.remove(path)
        self.outdated = []


def _validation_is_due(runner: Runner) -> bool:
    """Whether the loop validates after what it has trained."""
    loop = runner.train_loop
    if isinstance(loop, EpochBasedTrainLoop):
        done, last = runner.epoch, loop.max_epochs
    else:
        done, last = runner.iter, loop.max_iters
    return (
        runner.val_loop is not None
        and done >= loop.val_begin
        and (done % loop.val_interval == 0 or done == last)
    )
