"""The data sets and data loaders in a config."""

import argparse
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import torch
from mmengine.config import Config

from ean_mm.config_types import toolbox_of, type_name

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def set_data_root(cfg: Config, data_root: str) -> None:
    """Read every data set, and the annotations of evaluators, from another folder."""
    for _, dataset in datasets_of(cfg):
        _move_annotations(cfg, str(dataset['data_root']), data_root)
        dataset['data_root'] = data_root


def set_loader_options(cfg: Config, args: argparse.Namespace) -> None:
    """Apply the options of loaders, and what mmpretrain's tools set in its configs'."""
    for name in LOADERS:
        loader = cfg.get(name)
        if not loader:
            continue
        if toolbox_of(cfg) == 'mmpretrain':
            loader.setdefault('collate_fn', dict(type='default_collate'))
            if torch.cuda.is_available():
                loader.setdefault('pin_memory', True)
            if loader.get('num_workers') and name != 'test_dataloader':
                loader.setdefault('persistent_workers', True)
        if args.no_pin_memory:
            loader['pin_memory'] = False
        if args.no_persistent_workers:
            loader['persistent_workers'] = False


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
