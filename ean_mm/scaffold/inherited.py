"""A config of a toolbox with attention, and its search."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from ean_mm.checkpoints import read_checkpoint
from ean_mm.config_types import type_name
from ean_mm.datasets.labels import classes_of
from ean_mm.errors import EANError, one_line
from ean_mm.launch import check, load_config
from ean_mm.launch.data_config import datasets_with_pipeline
from ean_mm.scaffold.attentions import attention_config
from ean_mm.scaffold.image_folder import HELD_OUT_SHARE, ImageFolder, held_out
from ean_mm.scaffold.pair import ConfigPair
from ean_mm.scaffold.schedule import SHARE, search_budget
from ean_mm.scaffold.weights import PRETRAINED_FACTOR, init_cfg

EXCHANGED = dict(ResNet='EANResNet', ResNetV1c='EANResNetV1c', ResNetV1d='EANResNetV1d')
"""backbones in whose place ours load the same weights; others are wrapped"""
NOT_OURS = ('dcn', 'plugins', 'multi_grid')
"""options of the toolboxes' ResNets that ours do not have"""
NEEDED = (
    'model',
    'train_dataloader',
    'val_dataloader',
    'val_evaluator',
    'train_cfg',
    'optim_wrapper',
)
METRICS = dict(
    Accuracy=('accuracy/top1', 'percent'),
    IoUMetric=('mIoU', 'percent'),
    VOCMetric=('pascal_voc/mAP', 'fraction'),
    CocoMetric=('coco/{}_mAP', 'fraction'),
)
"""what metrics report that masks can be rewarded by, and its unit"""
MOST_HELD_OUT = 1000
"""images without classes that are enough to reward masks on"""


def of_config(
    path: str,
    attention: str,
    checkpoint: Optional[str],
    by_training: bool,
    out: Path,
    folder: Optional[ImageFolder] = None,
) -> ConfigPair:
    """Return configs that inherit one of mmpretrain, mmdet or mmseg.

    Args:
        path: The config, or one of a package as ``'mmdet::...'``.
        attention: One of :data:`~ean_mm.scaffold.ATTENTIONS`.
        checkpoint: Weights of the whole plain network to start from; with a folder,
            only those of the backbone are taken.
        by_training: Whether the search trains masks; else it trains a supernet.
        out: The folder that the new configs are for.
        folder: Images that take the place of the data of a classifier's config.

    Raises:
        ValueError: The config cannot be read, its data are missing, or it has a
            backbone, a training set or a metric that no search can be written for.
    """
    cfg = load_config(path, None, None)
    missing = [part for part in NEEDED if not cfg.get(part)]
    if missing:
        raise EANError(
            f'{path} has no {missing[0]}; name a config that trains and validates'
        )
    backbone = cfg.model.get('backbone')
    if not backbone:
        raise EANError(
            f'{path} has no model.backbone to add attention to; '
            'docs/how-to/backbone.md says how to write the config'
        )
    kind = type_name(backbone)
    wraps = kind not in EXCHANGED or any(backbone.get(name) for name in NOT_OURS)
    wraps = wraps and not kind.startswith('EAN')
    scope = (
        'mmpretrain' if str(backbone.get('type')).startswith('mmpretrain.') else None
    )
    hooks = [type_name(hook) for hook in cfg.get('custom_hooks') or []]
    if 'EANSearchHook' in hooks:
        raise EANError(f'{path} is a search; name the config that trains the network')
    stem = Path(path.rpartition('::')[2]).stem
    if folder is None:
        if checkpoint and '://' not in checkpoint:
            read_checkpoint(checkpoint)
        images = _TrainingImages.of(cfg, path)
    else:
        if 'num_classes' not in cfg.model.get('head', {}):
            raise EANError(
                f'{path} has no model.head.num_classes; --data goes with the config of '
                'a classifier, or without --config'
            )
        images = _TrainingImages.in_folder(cfg, folder)
        stem += f'_{Path(folder.root).resolve().name}'
    return ConfigPair(
        name=f'{stem}_{attention}',
        template='inherited.py.jinja',
        facts=dict(
            base=path if '::' in path else os.path.relpath(path, out),
            imports=[*_imports(cfg), 'ean_mm'],
            wraps=wraps,
            kind=EXCHANGED.get(kind, kind),
            scope=scope,
            attention=_attention(
                cfg, kind, attention, bool(checkpoint or _is_pretrained(cfg))
            ),
            init_cfg=checkpoint and folder and init_cfg(checkpoint),
            checkpoint=checkpoint,
            learning_rate=checkpoint and _lower_rate(cfg),
            folder=folder,
            topk=folder and folder.topk,
            train_pipeline=_pipeline(cfg, 'train_dataloader'),
            test_pipeline=_pipeline(cfg, 'val_dataloader'),
        ),
        search=dict(
            by_training=by_training,
            budget=_budget(cfg, images),
            what='images of each class' if images.per_class else 'images',
            held_out=images.per_class or images.held_out,
            per_class=bool(images.per_class),
            images='.'.join(
                ['_base_.train_dataloader.dataset', *['dataset'] * images.depth]
            ),
            depth=images.depth,
            own_hooks=bool(hooks),
            has_mask_hook='MaskHook' in hooks,
            warm_ups=_warm_ups(cfg),
            pipeline='_base_.test_pipeline'
            if folder
            else _pipeline(cfg, 'val_dataloader'),
            **_reward(cfg, path),
        ),
    )


@dataclass(frozen=True)
class _TrainingImages:
    """The training set of a config."""

    depth: int
    """data sets around that of the images"""
    per_class: int
    """images of each class to hold out; 0 where images have no class"""
    held_out: int
    """images to hold out altogether"""
    batches: int
    """of an epoch of the others"""

    @classmethod
    def in_folder(cls, cfg: Config, folder: ImageFolder) -> '_TrainingImages':
        """Take the images of a folder instead."""
        per_class = folder.held_out_for_reward
        number = per_class * len(folder.classes)
        batch_size = cfg.train_dataloader.get('batch_size', 1)
        batches = math.ceil((folder.trained_on - number) / batch_size)
        return cls(0, per_class, number, batches)

    @classmethod
    def of(cls, cfg: Config, path: str) -> '_TrainingImages':
        """Read a config's training set."""
        check(cfg, ('train_dataloader',))
        node, depth, times = cfg.train_dataloader.dataset, 0, 1
        while 'dataset' in node:
            times *= node.get('times', 1)
            node, depth = node['dataset'], depth + 1
        if 'datasets' in node or 'pipeline' not in node:
            raise EANError(
                f'the training set of {path}, a {type_name(node)}, is not one that a '
                'search can be written for; docs/how-to/detector.md says how to do it '
                'by hand'
            )
        scope = cfg.get('default_scope', 'mmengine')
        try:
            with DefaultScope.overwrite_default_scope(scope):
                dataset = DATASETS.build(node)
        except Exception as error:  # a data set is its author's program
            raise EANError(
                f'the training set of {path} cannot be read: {one_line(error)}'
            ) from error
        classes = classes_of(dataset)
        per_class = 0
        if classes is None:
            number = min(max(round(len(dataset) * HELD_OUT_SHARE), 1), MOST_HELD_OUT)
        else:
            labels = [label for labels in classes for label in labels]
            numbers = {label: labels.count(label) for label in set(labels)}
            per_class = held_out(min(numbers.values()))
            number = per_class * len(numbers)
        rest = times * (len(dataset) - number)
        batches = math.ceil(rest / cfg.train_dataloader.get('batch_size', 1))
        return cls(depth, per_class, number, batches)


def _budget(cfg: Config, images: _TrainingImages) -> int:
    loop = cfg.train_cfg
    if 'max_epochs' in loop:
        return search_budget(loop['max_epochs'], images.batches)
    return max(loop['max_iters'] // SHARE, 1)


def _reward(cfg: Config, path: str) -> Dict[str, Any]:
    """Return how masks are rewarded."""
    evaluators = cfg.val_evaluator
    metrics = [evaluators] if isinstance(evaluators, dict) else evaluators
    known = [metric for metric in metrics if type_name(metric) in METRICS]
    if not known:
        raise EANError(
            f'{path} has no evaluator that a search can be written for '
            f'({", ".join(METRICS)}); docs/how-to/detector.md says how to do it by hand'
        )
    kind = type_name(known[0])
    name, unit = METRICS[kind]
    tasks = known[0].get('metric', 'bbox')
    name = name.format(tasks if isinstance(tasks, str) else tasks[0])
    from_images = kind == 'CocoMetric' and 'ann_file' in known[0]
    pipelines = [
        each['pipeline'] for each in datasets_with_pipeline(cfg.val_dataloader)
    ]
    if from_images and (
        isinstance(evaluators, list)
        or not all('meta_keys' in pipeline[-1] for pipeline in pipelines)
    ):
        raise EANError(
            f'{path} has a CocoMetric, which counts all images of its annotation file, '
            'among others or with a pipeline of no meta_keys; docs/how-to/detector.md '
            'says how to write the search by hand'
        )
    return dict(
        reward=dict(metric=name, unit=unit),
        boxes_from_images=from_images,
    )


def _pipeline(cfg: Config, loader: str) -> str:
    """Name the pipeline of a loader's images, as a config that inherits this one."""
    name, node = f'_base_.{loader}.dataset', cfg[loader].dataset
    while 'dataset' in node:
        name, node = f'{name}.dataset', node['dataset']
    return f'{name}.pipeline'


def _attention(cfg: Config, kind: str, name: str, pretrained: bool) -> Dict[str, Any]:
    """Return the config of the attention, in the place of one that is there."""
    backbone = cfg.model.backbone
    channels = 16 if 'CIFAR' in kind else backbone.get('base_channels', 64)
    bottleneck = backbone.get('depth') not in (18, 34) and 'CIFAR' not in kind
    attention = attention_config(name, channels * (4 if bottleneck else 1), pretrained)
    replaces = isinstance(backbone.get('attention'), dict)
    return dict(_delete_=True, **attention) if replaces else attention


def _is_pretrained(cfg: Config) -> bool:
    init_cfg = cfg.model.backbone.get('init_cfg') or {}
    kinds = [init_cfg] if isinstance(init_cfg, dict) else init_cfg
    return bool(
        cfg.get('load_from')
        or cfg.model.get('pretrained')
        or any(type_name(each) == 'Pretrained' for each in kinds)
    )


def _lower_rate(cfg: Config) -> Optional[float]:
    """Return the learning rate for a trained network; None if the config has none."""
    rate = (cfg.optim_wrapper.get('optimizer') or {}).get('lr')
    return rate and rate / PRETRAINED_FACTOR


def _imports(cfg: Config) -> List[str]:
    imports = (cfg.get('custom_imports') or {}).get('imports') or []
    imports = [imports] if isinstance(imports, str) else imports
    return [name for name in imports if name != 'ean_mm']


def _warm_ups(cfg: Config) -> int:
    """Count the schedulers that only raise the learning rate at the start."""
    schedulers = cfg.get('param_scheduler') or []
    count = 0
    for scheduler in schedulers if isinstance(schedulers, list) else []:
        if type_name(scheduler) != 'LinearLR':
            break
        count += 1
    return count
