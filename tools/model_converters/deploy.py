"""Turn a trained checkpoint into one for inference, with a config that loads it.

Norm layers are folded, attention that the mask leaves out is dropped, and gates are
computed where that is cheapest. ``tools/test.py TARGET.py TARGET.pth`` tests it.
"""

import argparse
import copy
from functools import partial
from pathlib import Path
from typing import Any, Dict

import torch
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from ean_mm import EANError
from ean_mm.checkpoints import load_trained, read_checkpoint
from ean_mm.config_types import toolbox_of
from ean_mm.deploy import MEMORY_FORMATS, require_same_outputs
from ean_mm.fileio import atomic_save, atomic_write
from ean_mm.launch import OptionAction, explain_errors, load_config
from ean_mm.model_config import config_of
from ean_mm.models import masked_modules
from ean_mm.profiling import median_seconds


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='checkpoint of the trained model')
    parser.add_argument('target', help='checkpoint to write, as deployed.pth')
    parser.add_argument('--mask', help="mask to deploy; default: the checkpoint's")
    parser.add_argument(
        '--memory-format',
        choices=['auto', *MEMORY_FORMATS],
        default='auto',
        help='auto: whichever is faster on this machine',
    )
    parser.add_argument('--image-size', type=int, default=224, help='for auto, pixels')
    parser.add_argument('--batch-size', type=int, default=1, help='for auto')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, metavar='KEY=VALUE'
    )
    return parser.parse_args()


def build(config: Any, checkpoint: Dict[str, Any], mask: str) -> nn.Module:
    """Build a model with the weights and the masks of its checkpoint."""
    init_default_scope(toolbox_of(config) or 'mmengine')
    model = MODELS.build(copy.deepcopy(config.model))
    modules = masked_modules(model)
    if not any(hasattr(module, 'switch_to_deploy') for module in modules.values()):
        raise EANError('the config has no EANResNet or EANWrapper with attention')
    return load_trained(model, checkpoint, mask)


def deploy(module: nn.Module, name: str, args: argparse.Namespace) -> str:
    """Deploy a module in the memory format asked for, or else in the faster one.

    Args:
        module: The module, with its mask set.
        name: Its name in the model.
        args: The command line.

    Returns:
        The memory format.

    Raises:
        ValueError: The deployed module computes something else.
    """
    first = next(m for m in module.modules() if isinstance(m, nn.Conv2d))
    images = torch.randn(
        args.batch_size, first.in_channels, args.image_size, args.image_size
    )
    forms = dict(trained=module)
    for memory_format in MEMORY_FORMATS:
        if args.memory_format in ('auto', memory_format):
            forms[memory_format] = copy.deepcopy(module)
            forms[memory_format].switch_to_deploy(memory_format)
    with torch.inference_mode():
        seconds = median_seconds(
            [partial(network, images) for network in forms.values()]
        )
    times = dict(zip(forms, seconds))
    for form in forms:
        print(f'{name}, mask {module.mask}, {form}: {1000 * times[form]:.1f} ms')
    best = min((form for form in forms if form != 'trained'), key=times.get)
    difference = require_same_outputs(module, forms[best], images, name)
    print(f'{name}: relative difference of the outputs {difference:.1e}')
    module.switch_to_deploy(best)
    return best


def main() -> None:
    args = parse_args()
    if Path(args.target).suffix != '.pth':
        raise EANError(f'{args.target} must end in .pth')
    config = load_config(args.config, args.cfg_options, None)
    checkpoint = read_checkpoint(args.checkpoint)
    model = build(config, checkpoint, args.mask)
    masks = {}
    for name, module in masked_modules(model).items():
        masks[name] = str(module.mask)
        node = config_of(config.model, name)
        if node is None:
            raise EANError(f'there is no model.{name} in the config to set its mask in')
        node['mask'] = masks[name]
        if not hasattr(module, 'switch_to_deploy'):
            continue
        node['deploy'] = deploy(module, name, args)
        for key in ('init_cfg', 'pretrained'):
            node.pop(key, None)
            node.get('backbone', {}).pop(key, None)  # what EANWrapper wraps
    meta = {**checkpoint.get('meta', {})}
    meta['ean_mm'] = dict(masks=masks, deployed=True)
    atomic_save(dict(state_dict=model.state_dict(), meta=meta), args.target)
    config.load_from = None
    config.model.pop('pretrained', None)  # mmseg's would overwrite what was folded
    target_config = Path(args.target).with_suffix('.py')
    with atomic_write(target_config) as file:
        file.write(config.pretty_text.encode())
    print(f'wrote {args.target} and {target_config}')


if __name__ == '__main__':
    explain_errors(main)
