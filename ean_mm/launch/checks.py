"""What is checked before a run and would otherwise fail late."""

from pathlib import Path
from typing import Any, Dict, Tuple

from mmengine.config import Config
from mmengine.fileio.backends import LocalBackend, backends
from mmengine.registry import DATASETS

from ean_mm.checkpoints import read_checkpoint
from ean_mm.errors import EANError
from ean_mm.fileio import AtomicBackend
from ean_mm.launch.data_config import datasets_of


def check(cfg: Config, loaders: Tuple[str, ...]) -> None:
    """Check what would otherwise fail late or in many lines.

    Args:
        cfg: The config.
        loaders: Names of the data loaders that will be used.

    Raises:
        ValueError: A data folder or the checkpoint is missing or unreadable.
    """
    for loader, dataset in datasets_of(cfg, loaders):
        if not _downloads(dataset, cfg.get('default_scope', 'mmengine')):
            _require_local_data(loader, dataset)
    path = cfg.get('load_from')
    if path and '://' not in path:
        read_checkpoint(path)


def _require_local_data(loader: str, dataset: Dict[str, Any]) -> None:
    root = str(dataset['data_root'] or '')
    if '://' in root or root.startswith('s3:') or not _is_local(dataset):
        return
    parts = [dataset.get('ann_file') or '']
    if all(map(_is_local, dataset.get('pipeline') or [])):
        prefix = dataset.get('data_prefix') or ''
        parts += ['.', *(prefix.values() if isinstance(prefix, dict) else [prefix])]
    for part in filter(None, parts):
        path = Path(root, part)
        if '://' not in part and not path.exists():
            raise EANError(
                f'the data for {loader} is missing: there is no '
                f'{path if Path(root).exists() else root}; put it there or name its '
                'folder with --data-root DIR'
            )


def _is_local(reader: Any) -> bool:
    """Whether a data set or a transform reads files by mmengine's local backend."""
    if not isinstance(reader, dict):  # a transform that is built already
        return True
    args = reader.get('backend_args') or reader.get('file_client_args') or {}
    name = args.get('backend', 'local')
    return name == 'disk' or backends.get(name) in (LocalBackend, AtomicBackend)


def _downloads(dataset: Dict[str, Any], scope: str) -> bool:
    """Whether a data set fetches itself, as mmpretrain's CIFAR10 does."""
    kind = dataset.get('type')
    if isinstance(kind, str):
        scope = dataset.get('_scope_') or scope
        with DATASETS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(kind)
    return hasattr(kind, 'url') and dataset.get('download', True)
