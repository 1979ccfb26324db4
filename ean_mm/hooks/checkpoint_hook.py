"""Checkpoints that survive a kill at any moment, and exact resuming from them."""

import ast
import os
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import numpy as np
from mmengine.dataset import worker_init_fn
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner, set_random_seed
from torch.utils.data import DataLoader

from ean_mm.checkpoints import stored_weights
from ean_mm.errors import EANError
from ean_mm.fileio import atomic_write, remove_unfinished
from ean_mm.models.masked import unwrapped

# What decides a training's result, beside the weights and the seed.
PARTS = (
    'model',
    'data_preprocessor',
    'train_dataloader',
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """Saves checkpoints that a kill cannot damage and a resumed run is exact from.

    A checkpoint and ``last_checkpoint`` are written as a whole or not at all, and what
    ``max_keep_ckpts`` or ``save_best`` outdates is removed after that. mmengine's hook
    removes it before. A run that goes on in another work dir removes nothing in the
    old one, where mmengine's hook removes the best checkpoint.

    Random numbers are drawn from (seed, iteration, rank): by every epoch of an
    :class:`EpochBasedTrainLoop`, and by every iteration of an
    :class:`IterBasedTrainLoop`, which passes over the data it has seen when it
    resumes. No random state needs to be saved, then, and those of the data loader's
    workers could not be. Persistent workers are started again for every epoch.

    A checkpoint of another seed or of a model with other weights is not resumed from;
    another config otherwise is, with a warning. If ``save_best`` is set, the validation
    after the checkpoint is done again, for the kill may have come before its end.

    The arguments are those of :class:`mmengine.hooks.CheckpointHook`.
    """

    backend_args: Any
    file_backend: Any

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
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            done = runner.epoch
        else:
            done = runner.iter
            runner.train_loop.dataloader_iterator = _SeededBatches(
                runner, runner.train_loop.dataloader_iterator
            )
        if runner._resume and runner._has_loaded:
            self.last_ckpt = runner._load_from
            if self.save_best and _validation_is_due(runner, done):
                runner.val_loop.run()

    def before_train_epoch(self, runner: Runner) -> None:
        loader = runner.train_dataloader
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        seed = _seed(runner, runner.iter)
        if isinstance(loader, DataLoader) and loader.num_workers:
            init = loader.worker_init_fn
            if isinstance(init, partial) and init.func is worker_init_fn:
                # mmengine's gives the workers the same seeds in every epoch
                loader.worker_init_fn = partial(init, seed=seed)
            loader._iterator = None  # persistent workers go on with their old states

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume:
            _refuse_another_run(runner, checkpoint)

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


class _SeededBatches:
    """A training's batches, from the first one on; seeds before each.

    Args:
        runner: The runner.
        batches: The batches.
    """

    def __init__(self, runner: Runner, batches: Iterator[Any]) -> None:
        self._runner = runner
        self._batches = batches
        self._iteration = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        _seed(self._runner, self._iteration)
        self._iteration += 1
        return next(self._batches)

    def skip_iter(self, num_iters: int) -> None:
        """Pass over the batches seen, as mmengine's loop does and onedl's asks for.

        Not by onedl's short cut, which leaves out what the workers would have drawn.
        """
        for _ in range(num_iters):
            next(self)


def _seed(runner: Runner, iteration: int) -> int:
    """Seed what the main process draws from; return the seed, of 31 bits."""
    sequence = np.random.SeedSequence((runner.seed, iteration, runner.rank))
    # mmengine adds the worker's number to it; numpy takes 32 bits
    seed = int(sequence.generate_state(1)[0] >> 1)
    return set_random_seed(seed)


def _validation_is_due(runner: Runner, done: int) -> bool:
    """Whether the loop validates after as many epochs, or else iterations."""
    loop = runner.train_loop
    if isinstance(loop, EpochBasedTrainLoop):
        last = loop.max_epochs
    else:
        last = loop.max_iters
    return (
        runner.val_loop is not None
        and done >= loop.val_begin
        and (done % loop.val_interval == 0 or done == last)
    )


def _refuse_another_run(runner: Runner, checkpoint: Dict[str, Any]) -> None:
    """Refuse to resume another training; warn if only the config is another."""
    meta, path = checkpoint.get('meta', {}), runner._load_from
    seed, trained_with = runner._randomness_cfg.get('seed'), meta.get('seed')
    if None not in (seed, trained_with) and seed != trained_with:
        raise EANError(
            f'{path} was trained with seed {trained_with} and this config has '
            f'{seed}; resume with --cfg-options randomness.seed={trained_with}'
        )
    stored = _shapes(stored_weights(checkpoint))
    expected = _shapes(unwrapped(runner.model).state_dict())
    differing = sorted(
        name
        for name in stored.keys() | expected.keys()
        if stored.get(name) != expected.get(name)
    )
    if differing:
        raise EANError(
            f'{path} is of another model: {len(differing)} weights differ in name or '
            f'shape, {differing[0]} first; resume with the config that it was trained '
            'with, or train this one in another --work-dir'
        )
    old, new = _values(meta.get('cfg', '')), _values(runner.cfg.pretty_text)
    changed = [part for part in PARTS if old and old.get(part) != new.get(part)]
    if changed:
        runner.logger.warning(
            f'{path} was trained with another {", ".join(changed)} than this config '
            'has; the result is that of neither'
        )


def _shapes(weights: Dict[str, Any]) -> Dict[str, tuple]:
    return {name: tuple(value.shape) for name, value in weights.items()}


def _values(text: str) -> Dict[str, str]:
    """Read the top-level values of a config's text without executing it.

    There are none in a text of a stranger that is no config.
    """
    try:
        return {
            ast.unparse(node.targets[0]): ast.unparse(node.value)
            for node in ast.parse(text).body
            if isinstance(node, ast.Assign)
        }
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        return {}
