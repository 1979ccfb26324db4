"""The options of the toolboxes' own test.py, beside running a config.

The sources are ``.mim/tools/test.py`` of mmpretrain, mmdet and mmseg; where they
differ, a config gets what its own toolbox does.
"""

import argparse
import copy
import os
import sys
from typing import Any, Dict, List

from mmengine.config import Config, ConfigDict
from mmengine.registry import METRICS
from mmengine.runner import Runner

from ean_mm.config_types import toolbox_of
from ean_mm.errors import EANError
from ean_mm.launch.data_config import datasets_with_pipeline

PICKLES = ('.pkl', '.pickle')
METRIC_FILES = ('.json', '.yaml', '.yml', *PICKLES)

# The hook that draws predictions, its options to do so and for the folder (mmseg has it
# in the visualizer), and the visualizer.
DRAWING = dict(
    mmpretrain=('VisualizationHook', 'enable', 'out_dir', 'UniversalVisualizer'),
    mmdet=('DetVisualizationHook', 'draw', 'test_out_dir', 'DetLocalVisualizer'),
    mmseg=('SegVisualizationHook', 'draw', None, 'SegLocalVisualizer'),
)


def add_test_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that the toolboxes' own test.py have."""
    add = parser.add_argument
    add(
        '--out',
        '--dump',
        metavar='FILE',
        help='write the predictions to a pickle file, or with mmseg to a folder of '
        'pictures if the name is of none',
    )
    add(
        '--out-item',
        choices=['metrics', 'pred'],
        help='what --out writes; metrics also go into .json and .yaml files',
    )
    add('--amp', action='store_true', help='test in mixed precision')
    add(
        '--tta',
        action='store_true',
        help="average over augmented images, by the config's tta_model and "
        'tta_pipeline, or else over an image and its mirror image',
    )
    add('--show-dir', metavar='DIR', help='draw the predictions into a folder')
    add('--show', action='store_true', help='show the predictions in a window')
    add('--interval', type=int, metavar='N', help='draw every N-th image; default: all')
    add(
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
    kind, enable, folder, visualizer_kind = DRAWING[toolbox]
    hooks = cfg.get('default_hooks') or ConfigDict()
    hook = hooks.get('visualization') or ConfigDict(type=f'{toolbox}.{kind}')
    hook[enable] = True
    hook['show'] = args.show
    hook['wait_time'] = args.wait_time
    if args.interval is not None and toolbox == 'mmdet':
        raise EANError("mmdet's hook draws every image; leave out --interval")
    if toolbox != 'mmdet':
        hook['interval'] = args.interval or 1
    visualizer = cfg.get('visualizer') or ConfigDict(
        type=f'{toolbox}.{visualizer_kind}',
        name='visualizer',
        vis_backends=[dict(type='LocalVisBackend')],
    )
    if folder:
        hook[folder] = args.show_dir
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
    if model is None and toolbox == 'mmpretrain':
        model = dict(type='mmpretrain.AverageClsScoreTTA')
    elif model is None:
        boxes = dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
        model = dict(type='DetTTAModel', tta_cfg=boxes)
    for dataset in datasets_with_pipeline(cfg.test_dataloader):
        dataset['pipeline'] = cfg.get('tta_pipeline') or _mirrored(
            dataset['pipeline'], toolbox
        )
    cfg.model = ConfigDict(**model, module=cfg.model)


def _mirrored(pipeline: List[Dict[str, Any]], toolbox: str) -> List[Dict[str, Any]]:
    *before, pack = copy.deepcopy(pipeline)
    if toolbox == 'mmdet':  # for its default keys, which say how an image is flipped
        pack = dict(type='PackDetInputs')
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
