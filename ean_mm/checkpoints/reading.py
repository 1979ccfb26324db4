"""Open checkpoints without executing anything in them, here and in mmengine."""

import re
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Callable, Optional

import torch
from mmengine.runner import checkpoint as mmengine_checkpoint

from ean_mm.checkpoints.unpickling import allow_mmengine_checkpoints
from ean_mm.errors import EANError, one_line


def read_checkpoint(path: str, map_location: Any = 'cpu', mmap: bool = True) -> Any:
    """Open a local checkpoint without executing anything in it.

    Args:
        path: The file.
        map_location: Where to put the tensors, as for ``torch.load``.
        mmap: Leave tensors on disk until they are used.

    Raises:
        ValueError: It is missing or unreadable.
    """
    if not Path(path).is_file():
        raise EANError(f'there is no checkpoint {path}')
    try:
        try:
            return torch.load(path, map_location, weights_only=True, mmap=mmap)
        except RuntimeError:  # saved before PyTorch 1.6, which cannot be mapped
            return torch.load(path, map_location, weights_only=True)
    except Exception as error:  # a damaged pickle raises almost anything
        raise _refusal(path, error) from error


def _refusal(source: str, error: Exception) -> EANError:
    """Say why a checkpoint is not read, without PyTorch's advice to trust it."""
    named = re.search(r'GLOBAL (\S+)', str(error))
    reason = f'it names {named[1]}, which was not executed' if named else error
    return EANError(
        f'checkpoint {source} is damaged, or holds more than weights and numbers: '
        f'{one_line(reason)}'
    )


def secure_mmengine_loaders() -> None:
    """Let mmengine execute nothing that is in a checkpoint, for the whole process.

    Whatever mmengine, mmpretrain, mmdet and mmseg load comes by here: ``load_from``,
    ``init_cfg``, what is resumed and what an inferencer is given.
    """
    allow_mmengine_checkpoints()
    loader = mmengine_checkpoint.CheckpointLoader
    loader.register_scheme('', load_from_local, force=True)
    loader.load_checkpoint = _without_program(loader.load_checkpoint)
    mmengine_checkpoint.load_url = _load_url
    if hasattr(mmengine_checkpoint, '_safe_torch_load'):
        mmengine_checkpoint._safe_torch_load = _load_safely


def _without_program(load: Callable[..., Any]) -> Callable[..., Any]:
    """Let a loader drop the config in a checkpoint, whatever scheme it comes by.

    mmengine runs it as Python when it resumes, only to look up the number of GPUs, and
    does not write it.
    """

    def load_checkpoint(*args: Any, **kwargs: Any) -> Any:
        checkpoint = load(*args, **kwargs)
        meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
        if isinstance(meta, dict):
            meta.pop('config', None)
        return checkpoint

    return load_checkpoint


def load_from_local(filename: str, map_location: Any = None) -> Any:
    """Stand in for mmengine's, which an environment variable lets execute things.

    Its name is mmengine's, too, whose log names the backend by it.
    """
    # A checkpoint that is being trained from may be overwritten: it is not mapped.
    return read_checkpoint(str(Path(filename).expanduser()), map_location, mmap=False)


def _load_url(url: str, *args: Any, **kwargs: Any) -> Any:
    """Stand in for PyTorch's, which executes what it has downloaded by default."""
    try:
        kwargs['weights_only'] = True
        return torch.hub.load_state_dict_from_url(url, *args, **kwargs)
    except (UnpicklingError, RuntimeError) as error:
        raise _refusal(url, error) from error


def _load_safely(
    file: Any, map_location: Any = None, weights_only: Optional[bool] = None
) -> Any:
    """Stand in for onedl-mmengine's, for what is neither a local file nor a URL.

    It opens what is not allowed without weights_only, which runs code in it, and takes
    HistoryBuffer off PyTorch's list of what is allowed after every file.
    """
    return torch.load(file, map_location=map_location, weights_only=True)
