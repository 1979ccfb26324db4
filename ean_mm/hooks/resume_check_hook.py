"""Refuse to resume another training than the one of the config."""

import ast
from typing import Any, Dict

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ean_mm.checkpoints import stored_weights
from ean_mm.errors import EANError
from ean_mm.models.masked import unwrapped

# What decides a training's result, beside the weights and the seed.
PARTS = (
    'model',
    'data_preprocessor',
    'train_dataloader',
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
)


@HOOKS.register_module()
class ResumeCheckHook(Hook):
    """Compares a checkpoint that is resumed with the run.

    One of another seed, or of a model with other weights, is refused; another config
    otherwise is resumed with a warning.
    """

    priority = 'VERY_LOW'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not runner._resume:
            return
        meta, path = checkpoint.get('meta', {}), runner._load_from
        seed, trained_with = runner._randomness_cfg.get('seed'), meta.get('seed')
        if None not in (seed, trained_with) and seed != trained_with:
            raise EANError(
                f'{path} was trained with seed {trained_with} and this config has '
                f'{seed}; resume with --cfg-options randomness.seed={trained_with}'
            )
        stored = _shapes(stored_weights(checkpoint))
        expected = _shapes(unwrapped(runner.model).state_dict())
        differing = sorted(
            name
            for name in stored.keys() | expected.keys()
            if stored.get(name) != expected.get(name)
        )
        if differing:
            raise EANError(
                f'{path} is of another model: {len(differing)} weights differ in name '
                f'or shape, {differing[0]} first; resume with the config that it was '
                'trained with, or train this one in another --work-dir'
            )
        old, new = _values(meta.get('cfg', '')), _values(runner.cfg.pretty_text)
        changed = [part for part in PARTS if old and old.get(part) != new.get(part)]
        if changed:
            runner.logger.warning(
                f'{path} was trained with another {", ".join(changed)} than this '
                'config has; the result is that of neither'
            )


def _shapes(weights: Dict[str, Any]) -> Dict[str, tuple]:
    return {name: tuple(value.shape) for name, value in weights.items()}


def _values(text: str) -> Dict[str, str]:
    """Read the top-level values of a config's text without executing it.

    There are none in a text of a stranger that is no config.
    """
    try:
        return {
            ast.unparse(node.targets[0]): ast.unparse(node.value)
            for node in ast.parse(text).body
            if isinstance(node, ast.Assign)
        }
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        return {}
