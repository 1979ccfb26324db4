"""What the toolboxes' own train.py and test.py do with a config, beside running it.

The sources are ``.mim/tools/train.py`` and ``test.py`` of mmpretrain, mmdet and mmseg;
where they differ, a config gets what its own toolbox does.
"""

import argparse
import copy
import os
import sys
from typing import Any, Dict, List

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import METRICS, RUNNERS
from mmengine.runner import Runner

from ean_mm.compat import import_toolbox
from ean_mm.config_types import toolbox_of
from ean_mm.data_config import LOADERS, datasets_with_pipeline
from ean_mm.errors import EANError

PICKLES = ('.pkl', '.pickle')
METRIC_FILES = ('.json', '.yaml', '.yml', *PICKLES)

# The hook that draws predictions, what it calls its options, and what it draws with.
DRAWING: Dict[str, Dict[str, Any]] = dict(
    mmpretrain=dict(
        hook='mmpretrain.VisualizationHook',
        enable='enable',
        folder='out_dir',
        visualizer='mmpretrain.UniversalVisualizer',
    ),
    mmdet=dict(
        hook='mmdet.DetVisualizationHook',
        enable='draw',
        folder='test_out_dir',
        visualizer='mmdet.DetLocalVisualizer',
    ),
    mmseg=dict(
        hook='mmseg.SegVisualizationHook',
        enable='draw',
        folder=None,  # the visualizer's
        visualizer='mmseg.SegLocalVisualizer',
    ),
)


def add_loader_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of data loaders that mmpretrain's tools have."""
    parser.add_argument(
        '--no-pin-memory', action='store_true', help='do not pin memory of batches'
    )
    parser.add_argument(
        '--no-persistent-workers',
        action='store_true',
        help='start the workers of data loaders again for every epoch',
    )


def set_loader_options(cfg: Config, args: argparse.Namespace) -> None:
    """Apply those options, and what mmpretrain's tools set in its configs' loaders."""
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


def build_runner(cfg: Config) -> Runner:
    """Build the runner that a config names in ``runner_type``, or else mmengine's.

    Raises:
        ValueError: There is none of that name.
    """
    toolbox = toolbox_of(cfg)
    if toolbox == 'mmdet':  # of what torch.compile keeps, by an environment variable
        import_toolbox('mmdet.utils').setup_cache_size_limit_of_dynamo()
    kind = cfg.get('runner_type', 'Runner')
    cls = kind
    if isinstance(kind, str):
        with RUNNERS.switch_scope_and_registry(toolbox) as registry:
            cls = registry.get(kind)
    if cls is None:
        raise EANError(
            f'runner_type={kind!r} is not registered; name the module that registers '
            "it in custom_imports=dict(imports=['...'])"
        )
    return cls.from_cfg(cfg)


def add_test_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that the toolboxes' own test.py have."""
    parser.add_argument(
        '--out',
        '--dump',
        metavar='FILE',
        help='write the predictions to a pickle file, or with mmseg to a folder of '
        'pictures if the name is of none',
    )
    parser.add_argument(
        '--out-item',
        choices=['metrics', 'pred'],
        help='what --out writes; metrics also go into .json and .yaml files',
    )
    parser.add_argument('--amp', action='store_true', help='test in mixed precision')
    parser.add_argument(
        '--tta',
        action='store_true',
        help="average over augmented images, by the config's tta_model and "
        'tta_pipeline, or else over an image and its mirror image',
    )
    parser.add_argument(
        '--show-dir', metavar='DIR', help='draw the predictions into a folder'
    )
    parser.add_argument(
        '--show', action='store_true', help='show the predictions in a window'
    )
    parser.add_argument(
        '--interval', type=int, metavar='N', help='draw every N-th image; default: all'
    )
    parser.add_argument(
        '--wait-time',
        type=float,
        default=2,
        metavar='SECONDS',
        help='how long to show each image',
    )


def set_test_options(cfg: Config, args: argparse.Namespace) -> None:
    """Apply those options to a config.

    Raises:
        ValueError: One is not possible for this config, or on this machine.
    """
    cfg.resume = False  # a config's own would read a training run in the checkpoint
    if args.amp:
        cfg.test_cfg = dict(cfg.get('test_cfg') or {}, fp16=True)
    if args.show or args.show_dir:
        _draw(cfg, args)
    if args.tta:
        _augment(cfg)
    if args.out_item and not args.out:
        raise EANError('--out-item needs a file to write to, as --out results.json')
    if args.out:
        _check_out(cfg, args.out, args.out_item or 'pred')


def _require_toolbox(cfg: Config, option: str) -> str:
    toolbox = toolbox_of(cfg)
    if toolbox is None:
        raise EANError(
            f'{option} is for configs of mmpretrain, mmdet and mmseg; set '
            "default_scope='mmpretrain' if it is one"
        )
    return toolbox


def _draw(cfg: Config, args: argparse.Namespace) -> None:
    """Let the toolbox's hook draw the predictions."""
    toolbox = _require_toolbox(cfg, '--show')
    displays = ('DISPLAY', 'WAYLAND_DISPLAY')
    if args.show and sys.platform == 'linux' and not any(map(os.getenv, displays)):
        raise EANError('--show needs a display; draw into a folder with --show-dir DIR')
    names = DRAWING[toolbox]
    hooks = cfg.get('default_hooks') or ConfigDict()
    hook = hooks.get('visualization') or ConfigDict(type=names['hook'])
    hook[names['enable']] = True
    hook['show'] = args.show
    hook['wait_time'] = args.wait_time
    if args.interval is not None and toolbox == 'mmdet':
        raise EANError("mmdet's hook draws every image; leave out --interval")
    if toolbox != 'mmdet':
        hook['interval'] = args.interval or 1
    visualizer = cfg.get('visualizer') or ConfigDict(
        type=names['visualizer'],
        name='visualizer',
        vis_backends=[dict(type='LocalVisBackend')],
    )
    if names['folder']:
        hook[names['folder']] = args.show_dir
    elif args.show_dir:
        visualizer['save_dir'] = args.show_dir
    hooks['visualization'] = hook
    cfg.default_hooks, cfg.visualizer = hooks, visualizer


def _augment(cfg: Config) -> None:
    """Test on augmented images; without a say of the config on their mirror images."""
    toolbox = _require_toolbox(cfg, '--tta')
    model = cfg.get('tta_model')
    if toolbox == 'mmseg' and None in (model, cfg.get('tta_pipeline')):
        raise EANError('--tta needs tta_model and tta_pipeline in a config of mmseg')
    if model is None:
        model = dict(
            mmpretrain=dict(type='mmpretrain.AverageClsScoreTTA'),
            mmdet=dict(
                type='DetTTAModel',
                tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
            ),
        )[toolbox]
    for dataset in datasets_with_pipeline(cfg.test_dataloader):
        dataset['pipeline'] = cfg.get('tta_pipeline') or _mirrored(
            dataset['pipeline'], toolbox
        )
    cfg.model = ConfigDict(**model, module=cfg.model)


def _mirrored(pipeline: List[Dict[str, Any]], toolbox: str) -> List[Dict[str, Any]]:
    *before, pack = copy.deepcopy(pipeline)
    if toolbox == 'mmdet':
        pack = dict(
            type='PackDetInputs',
            meta_keys=(
                'img_id',
                'img_path',
                'ori_shape',
                'img_shape',
                'scale_factor',
                'flip',
                'flip_direction',
            ),
        )
    flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
    return [*before, dict(type='TestTimeAug', transforms=[flips, [pack]])]


def _check_out(cfg: Config, path: str, item: str) -> None:
    """See that the results can be written; let mmseg's metrics write pictures."""
    endings = METRIC_FILES if item == 'metrics' else PICKLES
    if path.endswith(endings):
        return
    if toolbox_of(cfg) != 'mmseg' or item == 'metrics':
        raise EANError(f'--out {path} must end in one of {", ".join(endings)}')
    evaluator = cfg.get('test_evaluator') or []
    for metric in [evaluator] if isinstance(evaluator, dict) else evaluator:
        metric.update(output_dir=path, keep_results=True)


def collect_predictions(runner: Runner, args: argparse.Namespace) -> None:
    """Let a runner write predictions to a file, by a metric that measures nothing."""
    if not args.out or args.out_item == 'metrics' or not args.out.endswith(PICKLES):
        return
    toolbox = toolbox_of(runner.cfg)
    kind = 'mmdet.DumpDetResults' if toolbox == 'mmdet' else 'DumpResults'
    dump = METRICS.build(dict(type=kind, out_file_path=args.out))
    runner.test_evaluator.metrics.append(dump)
