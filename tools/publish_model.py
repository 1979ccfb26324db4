"""Make a checkpoint of the model zoo from one of a training run.

It has the weights, and of the rest what tells which network they are: the mask, the
attention, the config, the data and the epochs. Its name ends in the first 8 digits of
its SHA-256. It is tested before it is written; with --metafile it is listed with what
the test measured, and the README of the zoo is written anew:

    python tools/publish_model.py configs/ean/resnet20_se_cifar10-10k.py \\
        work_dirs/resnet20_se_cifar10-10k/epoch_20.pth model_zoo --dataset CIFAR-10 \\
        --training-data 'CIFAR-10, 1,000 images a class' \\
        --metafile configs/ean/metafile.yml

A network that --cfg-options made, as of another mask, gets a config of its own first,
which inherits the one that it was trained with: those who use the zoo give no options.
"""

import argparse
import hashlib
import io
import tempfile
from pathlib import Path
from typing import Any, Dict, Tuple

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch import nn

from ean_mm import EANError, __version__
from ean_mm.checkpoints import (
    read_checkpoint,
    require_weights,
    stored_meta,
    stored_weights,
)
from ean_mm.config_types import toolbox_of
from ean_mm.fileio import atomic_write
from ean_mm.launch import (
    add_hook,
    check,
    explain_errors,
    load_config,
    quiet_runner,
)
from ean_mm.models import count_parameters, masked_modules
from ean_mm.profiling import count_flops
from ean_mm.search import SearchSpace
from ean_mm.zoo import Entry, read_metafile, zoo_entries
from zoo_page import list_network, root_of, zoo_readme

METRICS = {'accuracy/top1': 'Top 1 Accuracy', 'accuracy/top5': 'Top 5 Accuracy'}
"""names of the metrics in metafiles"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of the network; it sets the mask')
    parser.add_argument('checkpoint', help='checkpoint of its training run')
    parser.add_argument('out_dir', help='folder of the zoo, as model_zoo')
    parser.add_argument(
        '--dataset', required=True, help='name of the test set, as CIFAR-10'
    )
    parser.add_argument(
        '--training-data',
        metavar='TEXT',
        help="what it was trained on, as 'CIFAR-10, 1,000 images a class'; default: "
        'all of the training set of that name',
    )
    parser.add_argument(
        '--metafile', type=Path, help='list the network there, as what was measured'
    )
    parser.add_argument(
        '--accuracy',
        type=float,
        metavar='PERCENT',
        help='refuse the checkpoint if the test measures another top-1 accuracy',
    )
    parser.add_argument(
        '--data-root', metavar='DIR', help='folder to read every data set from'
    )
    return parser.parse_args()


def require_match(model: nn.Module, checkpoint: Any) -> None:
    """Refuse a checkpoint that is not of the network that the config builds.

    Raises:
        ValueError: It is a supernet's or deployed, or its mask or its weights differ.
    """
    stored = stored_meta(checkpoint)
    if stored.get('supernet'):
        raise EANError(
            'the checkpoint holds a supernet; train the network with the mask that its '
            'search has found, and publish that'
        )
    if stored.get('deployed'):
        raise EANError(
            'the checkpoint is deployed; publish the one that it was made of'
        )
    if 'masks' not in stored:
        raise EANError(
            'the checkpoint does not say its mask; publish one of tools/train.py'
        )
    masks = {name: str(each.mask) for name, each in masked_modules(model).items()}
    if stored['masks'] != masks:
        raise EANError(
            f'the checkpoint was trained with the mask {_text(stored["masks"])} and '
            f'the config sets {_text(masks)}; take the config of that network'
        )
    weights = stored_weights(checkpoint)
    require_weights(model, weights)
    unexpected = sorted(weights.keys() - model.state_dict().keys())
    if unexpected:
        raise EANError(
            f'the checkpoint has {len(unexpected)} weights that the model lacks, the '
            f'first being {unexpected[0]}; take the config that it was trained with'
        )


def pack(
    config: str, dataset: str, model: nn.Module, checkpoint: Dict[str, Any]
) -> bytes:
    """Return the file: the same bytes for the same checkpoint, wherever it was made."""
    trained = checkpoint['meta']
    modules = masked_modules(model)
    try:
        classes = list(map(str, trained['dataset_meta']['classes']))
        epoch, seed = int(trained['epoch']), int(trained['seed'])
    except (KeyError, TypeError, ValueError) as error:
        raise EANError(
            'the checkpoint does not say its classes, its epoch and its seed; publish '
            'one of tools/train.py'
        ) from error
    meta = dict(
        config=Path(config).name,
        dataset=dataset,
        dataset_meta=dict(classes=classes),
        epoch=epoch,
        seed=seed,
        ean_mm=dict(
            version=__version__,
            masks={name: str(module.mask) for name, module in modules.items()},
            modules=SearchSpace(model, list(modules)).describe() if modules else {},
        ),
    )
    weights = {
        # without the memory format, and the rest of the storage, of the run
        name: value.clone(memory_format=torch.contiguous_format)
        for name, value in stored_weights(checkpoint).items()
    }
    file = io.BytesIO()
    torch.save(dict(state_dict=weights, meta=meta), file)
    return file.getvalue()


def measure(cfg: Config, checkpoint: Path) -> Tuple[Runner, Dict[str, float]]:
    """Run the test of a config; return the Runner and the metrics, in percent."""
    cfg.load_from = str(checkpoint)
    add_hook(cfg, 'MaskHook')
    runner = quiet_runner(cfg, checkpoint.parent)
    measured = runner.test()
    metrics = {
        listed: round(measured[name], 2)
        for name, listed in METRICS.items()
        if name in measured
    }
    if 'Top 1 Accuracy' not in metrics:
        raise EANError(
            f'the test of the config measures {", ".join(measured)}; only classifiers '
            'with accuracy/top1 go into the zoo'
        )
    return runner, metrics


def describe(
    args: argparse.Namespace, runner: Runner, metrics: Dict[str, float], content: bytes
) -> Entry:
    """Return the entry of the metafile, but for the path of the weights."""
    root = root_of(args.metafile)
    model = runner.model
    image = runner.test_dataloader.dataset[0]['inputs']
    device = next(model.parameters()).device
    meta = torch.load(io.BytesIO(content), weights_only=True)['meta']
    return {
        'Name': Path(args.config).stem,
        'Config': _relative(args.config, root),
        'Metadata': {
            'Training Data': args.training_data or args.dataset,
            'Epochs': meta['epoch'],
            'Mask': _text(meta['ean_mm']['masks']),
            'Parameters': count_parameters(model),
            'FLOPs': count_flops(model, image[None].float().to(device)),
            'SHA256': hashlib.sha256(content).hexdigest(),
        },
        'Results': [
            {
                'Task': 'Image Classification',
                'Dataset': args.dataset,
                'Metrics': metrics,
            }
        ],
    }


def main() -> None:
    args = parse_args()
    cfg = load_config(args.config, None, args.data_root)
    checkpoint = read_checkpoint(args.checkpoint)
    if args.metafile:
        # A mistake in a path should not cost a test.
        read_metafile(args.metafile)
        if Path(args.out_dir).resolve() == root_of(args.metafile):
            raise EANError(
                f'{args.out_dir} has the README of the project; name a folder for the '
                'zoo, as model_zoo'
            )
    check(cfg, ('test_dataloader',))
    init_default_scope(toolbox_of(cfg) or 'mmengine')
    model = MODELS.build(cfg.model)
    require_match(model, checkpoint)
    content = pack(args.config, args.dataset, model, checkpoint)
    name = f'{Path(args.config).stem}-{hashlib.sha256(content).hexdigest()[:8]}.pth'
    target = Path(args.out_dir, name)
    with tempfile.TemporaryDirectory() as folder:
        untested = Path(folder, name)
        untested.write_bytes(content)
        runner, metrics = measure(cfg, untested)
    accuracy = metrics['Top 1 Accuracy']
    if args.accuracy is not None and abs(args.accuracy - accuracy) > 0.005:
        raise EANError(
            f'the test measures {accuracy:.2f} % and not {args.accuracy:.2f} %; '
            'nothing was written'
        )
    if args.metafile:
        entry = describe(args, runner, metrics, content)
        entry['Weights'] = _relative(target, root_of(args.metafile))
    with atomic_write(target) as file:
        file.write(content)
    if args.metafile:
        list_network(args.metafile, entry)
        entries = zoo_entries(root_of(args.metafile) / 'model-index.yml')
        with atomic_write(target.parent / 'README.md') as file:
            file.write(zoo_readme(entries).encode())
    print(f'wrote {target}, {len(content):,} bytes, accuracy {accuracy:.2f} %')
    if args.metafile:
        for other in sorted(target.parent.glob(f'{entry["Name"]}-????????.pth')):
            if other != target:
                print(f'{other} is not listed any more')


def _text(masks: Dict[str, str]) -> str:
    """The masks of a model in one word; of a plain network, 'none'."""
    return ', '.join(masks.values()) or 'none'


def _relative(path: Any, root: Path) -> str:
    """The path in a metafile."""
    try:
        return Path(path).resolve().relative_to(root).as_posix()
    except ValueError as error:
        raise EANError(
            f'{path} is not in {root}, whose metafile shall list it; omit --metafile '
            'to publish without listing'
        ) from error


if __name__ == '__main__':
    explain_errors(main)
