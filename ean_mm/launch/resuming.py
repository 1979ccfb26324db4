"""Resume a training and its search from what a killed run has left."""

import os
import zipfile
from pathlib import Path
from typing import Optional

from mmengine.config import Config
from mmengine.runner.checkpoint import find_latest_checkpoint

from ean_mm.checkpoints import read_checkpoint
from ean_mm.config_types import type_name
from ean_mm.errors import EANError


def set_resume(cfg: Config, resume: Optional[str]) -> None:
    """Resume training and the search.

    Args:
        cfg: Config with its ``work_dir``.
        resume: Path of a checkpoint, ``'auto'`` for the latest one in the work dir
            that is whole, None not to resume, except where torchrun has restarted the
            processes (``--max-restarts``) after their first checkpoint. If there is
            none to resume from, ``load_from`` still counts, and a stored search goes
            on.

    Raises:
        ValueError: The checkpoint does not hold a training run, or none of them is
            whole.
    """
    restarts = os.environ.get('TORCHELASTIC_RESTART_COUNT')
    if resume is None and restarts == '0' and os.environ.get('RANK') == '0':
        # What another run left here is not what a restart should go on from.
        Path(cfg.work_dir, 'last_checkpoint').unlink(missing_ok=True)
    restarted = resume is None and restarts not in (None, '0')
    if restarted:
        resume = 'auto'
    if resume is None:
        return
    for hook in cfg.get('custom_hooks') or []:
        if type_name(hook) == 'EANSearchHook':
            hook['resume'] = True
    if resume == 'auto':
        resume = _latest_whole_checkpoint(cfg, named_only=restarted)
    if resume is None:
        source = cfg.get('load_from') or 'initial weights'
        print(f'no checkpoint to resume from in {cfg.work_dir}; starting from {source}')
        return
    meta = _read_training_run(resume)['meta']
    cfg.resume, cfg.load_from = True, resume
    if (cfg.get('randomness') or {}).get('seed') is None:
        # mmengine takes over the seed only after it has built the training loader.
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=meta.get('seed'))


def _latest_whole_checkpoint(cfg: Config, named_only: bool) -> Optional[str]:
    """Find what ``last_checkpoint`` names, or the latest if that is damaged or missing.

    Args:
        cfg: Config with the ``work_dir`` to look in.
        named_only: Without a ``last_checkpoint``, find none.
    """
    work_dir, last = cfg.work_dir, None
    problem = f'{work_dir} has no file last_checkpoint'
    if Path(work_dir, 'last_checkpoint').is_file():
        last = find_latest_checkpoint(work_dir)
    if last is None and named_only:
        return None
    paths = sorted(Path(work_dir).glob('*.pth'), key=lambda path: path.stat().st_mtime)
    source = Path(cfg.get('load_from') or '').resolve()
    if last is None:  # what the run starts from is not of its own
        paths = [path for path in paths if path.resolve() != source]
    for path in filter(None, (last, *map(str, reversed(paths)))):
        try:
            _read_training_run(path)
        except EANError as error:
            problem = str(error) if path == last else problem
            continue
        if path != last:
            print(f'warning: {problem}; going on from {path}')
        return path
    if last is None:
        return None
    raise EANError(
        f'{problem}; there is no other to resume from in {work_dir}: train without '
        '--resume, or name one with --resume CHECKPOINT'
    )


def _read_training_run(path: str) -> dict:
    """Open a checkpoint that training can be resumed from, and read all of it once.

    Raises:
        ValueError: It is missing or damaged, or does not hold a training run.
    """
    content = read_checkpoint(path)
    parts = content if isinstance(content, dict) else {}
    if 'optimizer' not in parts or not isinstance(parts.get('meta'), dict):
        raise EANError(
            f'{path} holds weights but no training run to resume; start from it with '
            f'--cfg-options load_from={path} instead'
        )
    if zipfile.is_zipfile(path):  # older ones have no checksums
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
        if damaged is not None:
            raise EANError(f'checkpoint {path} is damaged, in {damaged}')
    return content
