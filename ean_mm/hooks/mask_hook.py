"""Keep masks with the checkpoints and configs of the runs that used them."""

from typing import Dict, Optional

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ean_mm.checkpoints import require_form, require_some_weights, stored_meta
from ean_mm.errors import EANError
from ean_mm.hooks.companions import bring
from ean_mm.hooks.label_check_hook import LabelCheckHook
from ean_mm.model_config import config_of
from ean_mm.models.masked import masked_modules, unwrapped


@HOOKS.register_module()
class MaskHook(Hook):
    """Writes the model's masks into checkpoints and the dumped config.

    A checkpoint's ``meta['ean_mm']['masks']`` has the mask of each masked module; the
    config in the work dir has the bits in place of a path, so that it stands alone. A
    checkpoint that was trained with another mask is loaded with a warning, unless it
    is a supernet's, which is made for all masks. One without attention weights is
    loaded with one line in the log; one that holds none of the model's weights is
    refused: mmengine would go on with initial weights. With the hook comes
    :class:`LabelCheckHook`.
    """

    priority = 'ABOVE_NORMAL'

    def before_run(self, runner: Runner) -> None:
        bring(runner, LabelCheckHook)
        for name, module in masked_modules(runner.model).items():
            node = config_of(runner.cfg.get('model'), name)
            if node is None:  # in a model for augmented tests
                node = config_of(runner.cfg.get('model'), f'module.{name}')
            if node is not None:
                node['mask'] = str(module.mask)
        runner.dump_config()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta'].setdefault('ean_mm', {})['masks'] = {
            name: str(module.mask)
            for name, module in masked_modules(runner.model).items()
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        path = runner._load_from
        require_some_weights(unwrapped(runner.model), checkpoint, path)
        modules = masked_modules(runner.model)
        for module in modules.values():
            module.expect_missing_attention()
        stored = stored_meta(checkpoint)
        deployed = bool(stored.get('deployed'))
        require_form(modules, deployed, path)
        for name, module in modules.items():
            trained = _mask_of(stored.get('masks', {}), name)
            if trained in (None, str(module.mask)) or stored.get('supernet'):
                continue
            if deployed:
                raise EANError(
                    f'the checkpoint {path} is deployed for the mask {trained}, and '
                    f'{name} has {module.mask}; load it with the config that was '
                    'written beside it'
                )
            runner.logger.warning(
                f'the checkpoint was trained with the mask {trained} in {name}, which '
                f'is set to {module.mask} now; to use the former, pass --cfg-options '
                f'model.{name}.mask={trained}'
            )


def _mask_of(masks: Dict[str, str], name: str) -> Optional[str]:
    """Return a module's mask in a checkpoint, also of a model around that one."""
    while name not in masks and '.' in name:
        name = name.partition('.')[2]
    return masks.get(name)
