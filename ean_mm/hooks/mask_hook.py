"""Keep masks with the checkpoints and configs of the runs that used them."""

import re
from typing import Any, Dict, Optional, Set

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from ean_mm.checkpoints import stored_meta, stored_weights
from ean_mm.datasets.labels import require_labels
from ean_mm.errors import EANError, one_line
from ean_mm.models.masked import masked_modules, unwrapped


@HOOKS.register_module()
class MaskHook(Hook):
    """Writes the model's masks into checkpoints and the dumped config.

    A checkpoint's ``meta['ean_mm']['masks']`` has the mask of each masked module; the
    config in the work dir has the bits in place of a path, so that it stands alone. A
    checkpoint that was trained with another mask is loaded with a warning, unless it
    is a supernet's, which is made for all masks. One without attention weights is
    loaded with one line in the log; one that holds none of the model's weights is
    refused: mmengine would go on with initial weights. So is, before training, a data
    set with labels that the model has no output for.
    """

    def before_run(self, runner: Runner) -> None:
        for name, module in masked_modules(runner.model).items():
            node = config_of(runner.cfg.get('model'), name)
            if node is None:  # in a model for augmented tests
                node = config_of(runner.cfg.get('model'), f'module.{name}')
            if node is not None:
                node['mask'] = str(module.mask)
        runner.dump_config()

    def before_train(self, runner: Runner) -> None:
        loaders = dict(train_dataloader=runner.train_dataloader)
        if runner.val_loop is not None:
            loaders['val_dataloader'] = runner.val_loop.dataloader
        for name, loader in loaders.items():
            require_labels(unwrapped(runner.model), loader.dataset, name)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta'].setdefault('ean_mm', {})['masks'] = {
            name: str(module.mask)
            for name, module in masked_modules(runner.model).items()
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        model = unwrapped(runner.model)
        expected = set(model.state_dict())
        names = weight_names(checkpoint)
        if not expected & names and not expected & _names_as_read(model, checkpoint):
            first = one_line(min(names, default='missing'))
            raise EANError(
                f'the checkpoint {runner._load_from} holds no weights of this model: '
                f"its first is {first!r}, the model's {min(expected)!r}; load it with "
                'the config that it was trained with'
            )
        for module in masked_modules(runner.model).values():
            module.expect_missing_attention()
        stored = stored_meta(checkpoint)
        _drop_program(checkpoint)
        self._check_deployed(runner, bool(stored.get('deployed')))
        if stored.get('supernet'):
            return
        for name, module in masked_modules(runner.model).items():
            trained = _mask_of(stored.get('masks', {}), name)
            if trained in (None, str(module.mask)):
                continue
            if stored.get('deployed'):
                raise EANError(
                    f'the checkpoint {runner._load_from} is deployed for the mask '
                    f'{trained}, and {name} has {module.mask}; load it with the config '
                    'that was written beside it'
                )
            runner.logger.warning(
                f'the checkpoint was trained with the mask {trained} in {name}, which '
                f'is set to {module.mask} now; to use the former, pass --cfg-options '
                f'model.{name}.mask={trained}'
            )

    @staticmethod
    def _check_deployed(runner: Runner, stored: bool) -> None:
        """Refuse a checkpoint whose weights are in the other form."""
        for name, module in masked_modules(runner.model).items():
            if getattr(module, 'deployed', stored) != stored:
                raise EANError(
                    f'the checkpoint {runner._load_from} is '
                    f'{"" if stored else "not "}deployed; '
                    + (
                        f'load it with model.{name}.deploy=True, as in the config that '
                        'was written beside it'
                        if stored
                        else 'convert it with tools/model_converters/deploy.py, or '
                        f'load it without model.{name}.deploy'
                    )
                )


def _drop_program(checkpoint: dict) -> None:
    """Drop the config in a checkpoint, which mmengine runs as Python when it resumes.

    It only looks up the number of GPUs there, and does not write it.
    """
    meta = checkpoint.get('meta')
    if isinstance(meta, dict):
        meta.pop('config', None)


def weight_names(checkpoint: dict) -> Set[str]:
    """Names of the weights in a checkpoint, as of a model that is not wrapped."""
    return {
        name[len('module.') :] if name.startswith('module.') else name
        for name in stored_weights(checkpoint)
    }


def _names_as_read(model: nn.Module, checkpoint: dict) -> Set[str]:
    """Names of a checkpoint's weights after the model has renamed them, as some do.

    mmdet's semi-supervised detectors load a plain detector's, mmpretrain's wrappers of
    timm and of Hugging Face the weights of those.
    """
    weights = {
        re.sub('^module.', '', name): value
        for name, value in stored_weights(checkpoint).items()
    }
    # This loads the model's own parameters, and not those of the modules in it.
    model._load_from_state_dict(weights, '', {}, False, [], [], [])
    return set(weights)


def _mask_of(masks: Dict[str, str], name: str) -> Optional[str]:
    """Return a module's mask in a checkpoint, also of a model around that one."""
    while name not in masks and '.' in name:
        name = name.partition('.')[2]
    return masks.get(name)


def config_of(node: Any, name: str) -> Any:
    """Return the config node of the module with a dotted name, None if unclear."""
    for part in name.split('.'):
        if isinstance(node, (list, tuple)) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        else:
            return None
    return node if isinstance(node, dict) and 'type' in node else None
