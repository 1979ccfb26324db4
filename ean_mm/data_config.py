"""What a config says of its data sets and data loaders."""

from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from mmengine.config import Config
from mmengine.fileio.backends import LocalBackend, backends
from mmengine.registry import DATASETS

from ean_mm.config_types import type_name
from ean_mm.errors import EANError
from ean_mm.fileio import AtomicBackend

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def set_data_root(cfg: Config, data_root: str) -> None:
    """Read every data set, and the annotations of evaluators, from another folder."""
    for _, dataset in datasets_of(cfg):
        _move_annotations(cfg, str(dataset['data_root']), data_root)
        dataset['data_root'] = data_root


def mend_loaders(cfg: Config) -> None:
    """Take away what PyTorch refuses, as mmengine hands it on.

    That is options for workers where there are none (``num_workers=0`` on the command
    line for a config that has some), and ``_scope_``, which a base of another package
    leaves in ``collate_fn``.
    """
    for loader in _dicts_with(cfg._cfg_dict, 'num_workers'):
        if loader['num_workers'] == 0:
            loader.pop('prefetch_factor', None)
            loader.pop('timeout', None)
            if loader.get('persistent_workers'):
                loader['persistent_workers'] = False
        if isinstance(loader.get('collate_fn'), dict):
            loader['collate_fn'].pop('_scope_', None)


def require_data(cfg: Config, loaders: Tuple[str, ...]) -> None:
    """Refuse local folders and annotation files of data sets that are not there.

    Raises:
        ValueError: One is missing.
    """
    for loader, dataset in datasets_of(cfg, loaders):
        if not _downloads(dataset, cfg.get('default_scope', 'mmengine')):
            _require_local_data(loader, dataset)


def datasets_of(
    cfg: Any, loaders: Optional[Tuple[str, ...]] = None
) -> Iterator[Tuple[str, Dict[str, Any]]]:
    """Yield every data set config with a ``data_root``, and the loader it is in."""
    for name in loaders or LOADERS:
        for dataset in _dicts_with(cfg.get(name), 'data_root'):
            yield name, dataset
    if loaders is None or 'train_dataloader' in loaders:
        for hook in cfg.get('custom_hooks') or []:
            for dataset in _dicts_with(hook.get('dataloader'), 'data_root'):
                yield f'{type_name(hook)}.dataloader', dataset


def datasets_with_pipeline(loader: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Return the innermost data sets of a loader's config, which have a pipeline."""
    found = _dicts_with(loader.get('dataset'), 'pipeline')
    return [each for each in found if not {'dataset', 'datasets'} & set(each)]


def _dicts_with(node: Any, entry: str) -> List[Dict[str, Any]]:
    if isinstance(node, dict):
        found = [node] if entry in node else []
        return found + [each for key in node for each in _dicts_with(node[key], entry)]
    if isinstance(node, (list, tuple)):
        return [each for item in node for each in _dicts_with(item, entry)]
    return []


def _move_annotations(cfg: Config, old_root: str, new_root: str) -> None:
    """Let evaluators read the annotations that they name in the new folder too."""
    for key in ('val_evaluator', 'test_evaluator'):
        evaluators = cfg.get(key) or []
        for metric in [evaluators] if isinstance(evaluators, dict) else evaluators:
            path = metric.get('ann_file')
            if path and Path(old_root) in Path(path).parents:
                metric['ann_file'] = str(new_root / Path(path).relative_to(old_root))


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
