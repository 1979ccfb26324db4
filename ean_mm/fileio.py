"""Files that are either there as a whole or not at all."""

import io
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Union

import torch
from mmengine.fileio import LocalBackend, register_backend

from ean_mm.errors import EANError


@contextmanager
def atomic_write(path: Union[str, Path]) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` once it is complete.

    The bytes go to a temporary file in the same folder, reach the disk, and replace
    ``path`` in one step. If the block raises, or the process is killed, ``path`` is
    what it was before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(
        prefix=f'.{path.name}.', suffix='.tmp', dir=path.parent
    )
    try:
        with os.fdopen(descriptor, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say of what file
        raise


def atomic_save(content: Any, path: Union[str, Path]) -> None:
    """Save tensors, as :func:`torch.save` does."""
    # It would hide a full disk behind an error of its own.
    memory = io.BytesIO()
    torch.save(content, memory)
    with atomic_write(path) as file:
        file.write(memory.getbuffer())


def require_folder(path: Union[str, Path]) -> None:
    """Make the folder of a file that is going to be written.

    Raises:
        ValueError: It cannot be made.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EANError(f'{path} cannot be written: {error.strerror}') from error


def remove_unfinished(folder: Union[str, Path]) -> None:
    """Remove the temporary files of processes killed while they wrote to a folder."""
    for temporary in Path(folder).glob('.*.????????.tmp'):
        temporary.unlink(missing_ok=True)


@register_backend('atomic', force=True)
class AtomicBackend(LocalBackend):
    """Local files that mmengine writes with :func:`atomic_write`."""

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        with atomic_write(filepath) as file:
            file.write(obj)
