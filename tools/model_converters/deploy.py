"""Turn a trained checkpoint into files for inference, with a config that runs them.

Norm layers are folded, attention that the mask leaves out is dropped, and gates are
computed where that is cheapest. The network then runs in PyTorch, OpenVINO or ONNX
Runtime; in the latter two its backbone does, with neck and heads in PyTorch. Written
are TARGET, weights as TARGET's name with .pth, and a config with .py, which
``tools/test.py NAME.py NAME.pth`` tests.
"""

import argparse
import copy
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Dict

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from ean_mm import EANError
from ean_mm.checkpoints import load_trained, read_checkpoint
from ean_mm.config_types import toolbox_of
from ean_mm.deploy import MEMORY_FORMATS, require_same_outputs
from ean_mm.deploy.comparison import agreement
from ean_mm.deploy.images import draw_calibration_images, draw_test_images, preprocessed
from ean_mm.deploy.runtime_deployment import TOLERANCES, RuntimeDeployment
from ean_mm.deploy.runtimes import PRECISIONS, require_runtime
from ean_mm.deploy.runtimes import SUFFIXES as OF_RUNTIME
from ean_mm.fileio import atomic_save, atomic_write, require_folder
from ean_mm.launch import (
    OptionAction,
    add_hook,
    check,
    explain_errors,
    load_config,
    quiet_runner,
)
from ean_mm.model_config import config_of
from ean_mm.models import masked_modules
from ean_mm.profiling import median_seconds

RUNTIMES = dict(openvino='openvino', onnx='onnxruntime')
SUFFIXES = dict(torch='.pth', **{to: OF_RUNTIME[name] for to, name in RUNTIMES.items()})


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('config', help='config that the checkpoint was trained with')
    add('checkpoint', help='checkpoint of the trained model')
    add('target', help='file to write, as deployed.pth, deployed.xml or deployed.onnx')
    add(
        '--to',
        choices=SUFFIXES,
        default='torch',
        help='what is to run it: PyTorch (.pth), OpenVINO (.xml) or ONNX Runtime '
        '(.onnx); default: %(default)s',
    )
    add(
        '--precision',
        choices=PRECISIONS,
        default='f32',
        help='for OpenVINO and ONNX Runtime; default: %(default)s. bf16 is refused if '
        'outputs differ by more than 5 percent; int8 is quantised on reward images, or '
        'else training images, and tested with --metric',
    )
    add('--mask', help="mask to deploy; default: the checkpoint's")
    add(
        '--metric',
        action='store_true',
        help='run the test of the config before and after, and print its metrics',
    )
    add(
        '--images',
        type=int,
        default=16,
        metavar='N',
        help='test images to compare outputs on; default: %(default)s',
    )
    add(
        '--calibration-images',
        type=int,
        default=300,
        metavar='N',
        help='images to quantise on; default: %(default)s',
    )
    add(
        '--memory-format',
        choices=['auto', *MEMORY_FORMATS],
        default='auto',
        help='for PyTorch; auto: whichever is faster on this machine',
    )
    add(
        '--image-size',
        type=int,
        metavar='PIXELS',
        help='of images to time; default: that of a test image, or 224 without one',
    )
    add('--batch-size', type=int, default=1, help='of images to time')
    add('--data-root', metavar='DIR', help='folder to read every data set from')
    add('--cfg-options', nargs='+', action=OptionAction, metavar='KEY=VALUE')
    return parser.parse_args()


def build(config: Any, checkpoint: Dict[str, Any], mask: str) -> nn.Module:
    """Build a model with the weights and the masks of its checkpoint."""
    init_default_scope(toolbox_of(config) or 'mmengine')
    model = copy.deepcopy(config.model)
    if config.get('data_preprocessor'):  # which a Runner gives to the model
        model.setdefault('data_preprocessor', config.data_preprocessor)
    model = MODELS.build(model)
    if not deployable(model):
        raise EANError('the config has no EANResNet or EANWrapper with attention')
    return load_trained(model, checkpoint, mask)


def deployable(model: nn.Module) -> Dict[str, Any]:
    """Return the modules of a model that can be deployed, by name."""
    modules = masked_modules(model).items()
    return {name: each for name, each in modules if hasattr(each, 'switch_to_deploy')}


def in_channels(module: nn.Module) -> int:
    """Return how many channels a backbone's images have."""
    first = next(m for m in module.modules() if isinstance(m, nn.Conv2d))
    return first.in_channels


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
    size = args.image_size or 224
    images = torch.randn(args.batch_size, in_channels(module), size, size)
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


def compile_backbones(
    config: Config, model: nn.Module, args: argparse.Namespace, folder: Path
) -> nn.Module:
    """Return the model with its backbones compiled; print what that changes.

    Args:
        config: The config.
        model: The model as trained.
        args: The command line.
        folder: Where to put the files of the backbones.
    """
    try:
        batches = draw_test_images(config, args.images)
    except EANError as error:
        print(f'no test images, so outputs are compared on random ones: {error}')
        batches = []
    images = [preprocessed(model, batch) for batch in batches]
    size = [args.image_size or 224] * 2
    if images and not args.image_size:
        size = images[0].shape[2:]
    calibration = []
    if args.precision == 'int8':
        calibration = draw_calibration_images(config, args.calibration_images)
    deployment = RuntimeDeployment(
        RUNTIMES[args.to], args.precision, calibration, partial(preprocessed, model)
    )
    compiled, tolerance = copy.deepcopy(model), TOLERANCES[args.precision]
    for name, module in deployable(model).items():
        random = torch.randn(args.batch_size, in_channels(module), *size)
        backbone = deployment.compile(module, folder / file_of(name, args), random)
        compiled.set_submodule(name, backbone)
        difference = max(
            require_same_outputs(module, backbone, batch, name, tolerance)
            for batch in images or [random]
        )
        print(f'{name}: relative difference of the outputs {difference:.1e}')
        ms = deployment.milliseconds(module, backbone, random)
        shape = ' x '.join(map(str, random.shape))
        print(
            f'{name}, mask {module.mask}, {shape}, {torch.get_num_threads()} threads:\n'
            f'  as trained, PyTorch: {ms["trained"]:.1f} ms\n'
            f'  {args.to}, {args.precision}: {ms["compiled"]:.1f} ms, '
            f'{ms["compiled"] / ms["trained"]:.2f} of the time as trained\n'
            f'  without attention: {ms["plain"]:.1f} ms, so the RTI is '
            f'{100 * (ms["compiled"] / ms["plain"] - 1):+.1f} %'
        )
    same = agreement(model, compiled, batches)
    if same is not None:
        print(f'equal labels on {len(batches)} test images: {same:.1f} %')
    return compiled


def file_of(name: str, args: argparse.Namespace) -> str:
    """Return the name of the file of a backbone: TARGET's, or of several one each."""
    target = Path(args.target)
    return target.name if name == 'backbone' else f'{target.stem}-{name}{target.suffix}'


def print_metrics(before: Config, checkpoint: str, deployed: Path) -> None:
    """Run the test of the config with both checkpoints and print its metrics."""
    after = load_config(f'{deployed}.py', None, None)
    before.load_from, after.load_from = checkpoint, f'{deployed}.pth'
    results = []
    for config in (before, after):
        add_hook(config, 'MaskHook')
        with tempfile.TemporaryDirectory() as folder:
            results.append(quiet_runner(config, folder).test())
    for name, value in results[0].items():
        print(f'{name}: {value:.2f} as trained, {results[1][name]:.2f} deployed')


def save(config: Config, model: nn.Module, meta: Dict[str, Any], path: Path) -> None:
    """Write the weights (.pth) and the config (.py) of a deployed model."""
    atomic_save(dict(state_dict=model.state_dict(), meta=meta), f'{path}.pth')
    config.load_from = None
    config.model.pop('pretrained', None)  # mmseg's would overwrite what was folded
    with atomic_write(f'{path}.py') as file:
        file.write(config.pretty_text.encode())


def main() -> None:
    args = parse_args()
    target = Path(args.target)
    if target.suffix != SUFFIXES[args.to]:
        raise EANError(f'{target} must end in {SUFFIXES[args.to]} for --to {args.to}')
    if args.to != 'torch':
        require_runtime(RUNTIMES[args.to], args.precision)
    require_folder(target)
    config = load_config(args.config, args.cfg_options, args.data_root)
    if args.metric or args.precision == 'int8':
        check(config, ('test_dataloader',))
    checkpoint = read_checkpoint(args.checkpoint)
    model = build(config, checkpoint, args.mask)
    nodes = {name: config_of(config.model, name) for name in masked_modules(model)}
    masks = {name: str(each.mask) for name, each in masked_modules(model).items()}
    for name, node in nodes.items():
        if node is None:
            raise EANError(f'there is no model.{name} in the config to set its mask in')
        node['mask'] = masks[name]
    before = copy.deepcopy(config)
    with tempfile.TemporaryDirectory(prefix='.deploy-', dir=target.parent) as folder:
        if args.to == 'torch':
            for name, module in deployable(model).items():
                nodes[name]['deploy'] = deploy(module, name, args)
                for key in ('init_cfg', 'pretrained'):
                    nodes[name].pop(key, None)
                    nodes[name].get('backbone', {}).pop(key, None)  # of EANWrapper
        else:
            names = list(deployable(model))
            model = compile_backbones(config, model, args, Path(folder))
            for name in names:
                nodes[name].clear()
                nodes[name].update(
                    type='CompiledBackbone',
                    file=f'{{{{ fileDirname }}}}/{file_of(name, args)}',
                    runtime=RUNTIMES[args.to],
                    precision=args.precision,
                )
        meta = {**checkpoint.get('meta', {})}
        meta['ean_mm'] = dict(masks=masks, deployed=True)
        save(config, model, meta, Path(folder, target.stem))
        if args.metric or args.precision == 'int8':
            print_metrics(before, args.checkpoint, Path(folder, target.stem))
        files = sorted(Path(folder).iterdir())
        for file in files:
            os.replace(file, target.parent / file.name)
    print(f'wrote {", ".join(str(target.parent / file.name) for file in files)}')


if __name__ == '__main__':
    explain_errors(main)
