"""The configs that the toolboxes come with, and their backbones exchanged for ours."""

import copy
import importlib
import inspect
import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import set_random_seed
from torch import nn

Where = Tuple[Any, ...]
"""the keys and numbers that lead from the model's config to one inside of it"""

TOOLBOXES = ('mmpretrain', 'mmdet', 'mmseg')
VARIANTS = {
    'ResNet': 'EANResNet',
    'ResNetV1c': 'EANResNetV1c',
    'ResNetV1d': 'EANResNetV1d',
}
WRAPPER = 'EANWrapper'

BACKBONES = (
    'ResNet',
    'HRNet',
    'CSPNeXt',
    'CSPDarknet',
    'CSPNet',
    'Darknet',
    'MobileNetV2',
    'MobileNetV3',
    'EfficientNet',
    'ConvNeXt',
    'DDRNet',
    'PIDNet',
)
"""the classes of the toolboxes' backbones whose blocks we know"""

DOWNLOADS = ('pretrained', 'init_cfg', 'teacher_ckpt')
FEWER = dict(nms_pre=50, max_per_img=20, num=16, num_points=256)
"""how many boxes and points there are to be at the most in training"""
PADDING = ('BatchFixedSizePad', 'BatchResize', 'BatchSyncRandomResize')


def folder_of(toolbox: str) -> Path:
    """Return the folder in which a toolbox has its configs."""
    return Path(str(importlib.import_module(toolbox).__file__)).parent / '.mim/configs'


def stock_configs(toolbox: str) -> List[str]:
    """Return the paths of a toolbox's configs in their folder, sorted."""
    folder = folder_of(toolbox)
    paths = (path.relative_to(folder) for path in folder.rglob('*.py'))
    return sorted(str(path) for path in paths if '_base_' not in path.parts)


class StockModel:
    """The model of a stock config, without what it would download.

    No weights are loaded, and images are not padded to the size that the config trains
    on, so that small ones will do. A path in it (a teacher's config) is looked for
    beside the toolbox's configs.

    Args:
        toolbox: ``'mmpretrain'``, ``'mmdet'`` or ``'mmseg'``.
        name: Path of the config in the toolbox's folder of configs.

    Raises:
        Exception: Whatever the config ends in when it is read.
    """

    def __init__(self, toolbox: str, name: str) -> None:
        cfg = Config.fromfile(folder_of(toolbox) / name)
        self.scope = cfg.get('default_scope', toolbox)
        model = cfg.get('model')
        self.cfg: Optional[ConfigDict] = None
        self.places: List[Where] = []
        if not isinstance(model, dict):
            return
        if cfg.get('data_preprocessor') is not None:  # as the Runner has it
            model.setdefault('data_preprocessor', cfg.data_preprocessor)
        self.cfg = ConfigDict(_prepared(model, folder_of(toolbox).parent))
        with DefaultScope.overwrite_default_scope(self.scope):
            self.places = [
                where for where, part in _dicts(self.cfg) if _is_residual(part)
            ]

    @property
    def hash(self) -> str:
        """The same for configs with the same model."""
        text = json.dumps(self.cfg, sort_keys=True, default=str)
        return sha256(f'{self.scope} {text}'.encode()).hexdigest()[:12]

    def types(self, cfg: Optional[ConfigDict] = None) -> str:
        """Name the residual backbones, or what stands in their places in a config."""
        parts = (_at(cfg or self.cfg, where) for where in self.places)
        return ', '.join(dict.fromkeys(_type_of(part) for part in parts))

    def swapped(
        self, attention: Optional[Dict[str, Any]], wrap: bool = False
    ) -> ConfigDict:
        """Exchange the residual backbones as ``configs/README.md`` says.

        Args:
            attention: Config of the attention to plug in everywhere, or None.
            wrap: Put ResNets, too, into ``EANWrapper``.
        """
        cfg = copy.deepcopy(self.cfg)
        for where in self.places:
            _at(cfg, where[:-1])[where[-1]] = swap(_at(cfg, where), attention, wrap)
        assert cfg is not None
        return cfg

    def build(self, cfg: Optional[ConfigDict] = None) -> BaseModel:
        """Build the model as the toolbox's Runner does, or another config in place.

        What is drawn on the way is the same each time: some teachers are no part of the
        model's weights.
        """
        set_random_seed(0)
        with DefaultScope.overwrite_default_scope(self.scope):
            model = MODELS.build(copy.deepcopy(cfg or self.cfg))
        for layer in model.modules():
            if type(layer).__name__ == 'TridentConv':  # not set before init_weights
                nn.init.normal_(layer.weight, std=0.1)
        return model


def swap(
    backbone: ConfigDict, attention: Optional[Dict[str, Any]], wrap: bool = False
) -> ConfigDict:
    """Exchange the type of a backbone's config, or wrap it."""
    scope, _, name = _type_of(backbone).rpartition('.')
    if wrap or name not in VARIANTS:
        return ConfigDict(type=WRAPPER, backbone=backbone, attention=attention)
    swapped = ConfigDict(backbone, type=VARIANTS[name], attention=attention)
    if scope:
        swapped['_scope_'] = scope
    return swapped


def _type_of(cfg: Dict[str, Any]) -> str:
    kind = cfg['type']
    return kind if isinstance(kind, str) else kind.__name__


def _is_residual(cfg: Dict[str, Any]) -> bool:
    """Whether a config is of one of :data:`BACKBONES`.

    One that is not registered, for want of a package, is known by its name.
    """
    kind = cfg.get('type')
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(cfg.get('_scope_')) as registry:
            known = registry.get(kind)
        if known is None:
            return 'ResNet' in kind
        kind = known
    return inspect.isclass(kind) and any(
        parent.__name__ in BACKBONES and '.models.backbones.' in parent.__module__
        for parent in kind.__mro__
    )


def _dicts(cfg: Any, where: Where = ()) -> Iterator[Tuple[Where, Dict[str, Any]]]:
    """Go through a config's dicts that have a type, outer ones first."""
    if isinstance(cfg, dict):
        if 'type' in cfg:
            yield where, cfg
        for key, value in cfg.items():
            yield from _dicts(value, (*where, key))
    elif isinstance(cfg, (list, tuple)):
        for number, value in enumerate(cfg):
            yield from _dicts(value, (*where, number))


def _at(cfg: Any, where: Where) -> Any:
    for key in where:
        cfg = cfg[key]
    return cfg


def _prepared(cfg: Any, folder: Path) -> Any:
    """Copy a config as dicts, without downloads and padding."""
    if isinstance(cfg, dict):
        copied = {
            key: _prepared(value, folder)
            for key, value in cfg.items()
            if key not in DOWNLOADS
        }
        augments = copied.get('batch_augments')
        if isinstance(augments, Sequence):
            copied['batch_augments'] = [
                augment for augment in augments if augment['type'] not in PADDING
            ]
        for key, most in FEWER.items():
            if isinstance(copied.get(key), int):
                copied[key] = min(copied[key], most)
        if copied.get('type') == 'SegDataPreProcessor':
            copied.update(size=None, size_divisor=32)
        return copied
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(_prepared(value, folder) for value in cfg)
    if isinstance(cfg, str) and cfg.startswith('configs/') and cfg.endswith('.py'):
        return str(folder / cfg)
    return cfg
