"""The config of a short training: what a config trains, scaled to fewer iterations."""

import copy
import math
import sys
from typing import Any, Dict, List, Tuple

from mmengine.config import Config

from ean_mm.config_types import type_name
from ean_mm.errors import EANError

# Numbers of iterations in schedulers that count iterations, and in averaging hooks.
SCHEDULE_KEYS = ('begin', 'end', 'milestones', 'periods', 'step_size', 'T_max')
LEFT_OUT_HOOKS = (
    'EANSearchHook',
    'SupernetHook',
    'MaskHook',
    'FiniteCheckHook',
    'LabelCheckHook',
    'ReseedHook',
    'ResumeCheckHook',
    'UnreadableImagesHook',
    'EarlyStoppingHook',
    'RichProgressHook',
    'CheckpointHook',
    'SafeCheckpointHook',
)
"""hooks that are for a run as a whole, and not for the training in it"""

MMENGINES_OWN = ('logger', 'checkpoint', 'sampler_seed', 'timer')
LEFT_OUT_DEFAULTS = (*MMENGINES_OWN, 'visualization')
"""the same among ``default_hooks``; mmengine adds its own unless they are None"""

WARM_UPS = dict(ExpMomentumEMA=2000, MomentumAnnealingEMA=100)
"""averages that begin faster, and the iterations (``gamma``) that they take to slow"""


def short_config(cfg: Config, iters_per_epoch: int, budget: int) -> Tuple[Config, int]:
    """Scale a config's training to a budget.

    Epochs keep their number and become shorter, so that all that counts epochs
    (schedules, hooks that switch something) keeps its meaning. What counts iterations
    is scaled.

    Args:
        cfg: Config of the whole training; it is not changed.
        iters_per_epoch: Iterations of one of its epochs.
        budget: Iterations that the short training has, to within half a short epoch.

    Returns:
        The config, and the iterations of a short epoch; of a training that counts
        iterations, the budget.

    Raises:
        ValueError: The budget is less than an iteration for each epoch.
    """
    cfg = copy.deepcopy(cfg)
    loop = cfg.train_cfg
    by_epoch = loop.get('by_epoch', 'IterBased' not in type_name(loop))
    if by_epoch:
        length = round(budget / loop['max_epochs'])
        if length < 1:
            raise EANError(
                f'a budget of {budget} iterations is less than one for each of the '
                f'{loop["max_epochs"]} epochs of the config; give more, or lower '
                'train_cfg.max_epochs'
            )
        factor = length / iters_per_epoch
    else:
        length, factor = budget, budget / loop['max_iters']
        loop['max_iters'] = budget
    loop['val_begin'] = sys.maxsize  # masks are judged at their budgets, not between
    loop.pop('dynamic_intervals', None)
    for scheduler in _schedulers(cfg.get('param_scheduler')):
        if not scheduler.get('by_epoch', True):
            _scale(scheduler, SCHEDULE_KEYS, factor)
    hooks = cfg.get('custom_hooks') or []
    cfg.custom_hooks = [h for h in hooks if type_name(h) not in LEFT_OUT_HOOKS]
    for hook in cfg.custom_hooks:
        if type_name(hook) == 'EMAHook':
            _scale_average(hook, factor)
    kept = cfg.get('default_hooks') or {}
    cfg.default_hooks = {
        **{name: kept[name] for name in kept if name not in LEFT_OUT_DEFAULTS},
        **dict.fromkeys(MMENGINES_OWN),
    }
    return cfg, length


def _schedulers(node: Any) -> List[Dict[str, Any]]:
    if not node:
        return []
    if isinstance(node, dict) and 'type' not in node:  # one list an optimizer
        return [each for part in node.values() for each in _schedulers(part)]
    return [node] if isinstance(node, dict) else list(node)


def _scale(cfg: Dict[str, Any], keys: Tuple[str, ...], factor: float) -> None:
    for key in keys:
        value = cfg.get(key)
        if isinstance(value, (list, tuple)):
            cfg[key] = [max(1, round(each * factor)) for each in value]
        elif isinstance(value, (int, float)) and 0 < value < math.inf:
            cfg[key] = max(1, round(value * factor))


def _scale_average(hook: Dict[str, Any], factor: float) -> None:
    """Let an average over weights forget as much in the short training as in the long.

    One that does not forget (``StochasticWeightAverage``) stays as it is.
    """
    kind = type_name(dict(type=hook.get('ema_type', 'ExponentialMovingAverage')))
    if kind == 'StochasticWeightAverage':
        return
    momentum = 1 - (1 - hook.get('momentum', 0.0002)) ** (1 / factor)
    hook['momentum'] = min(momentum, 0.5)
    if kind in WARM_UPS:
        hook.setdefault('gamma', WARM_UPS[kind])
    _scale(hook, ('begin_iter', 'gamma'), factor)
