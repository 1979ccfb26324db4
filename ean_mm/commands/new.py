"""``new``: configs for one's own images, or for one's own detector or segmentor."""

import argparse
import os
from pathlib import Path
from typing import Any

from ean_mm import terminal
from ean_mm.errors import EANError
from ean_mm.scaffold import (
    ATTENTIONS,
    NETWORKS,
    of_config,
    of_image_folder,
    read_image_folder,
    write_pair,
)
from ean_mm.zoo import TOOLS

EXAMPLES = """\
examples:
  python -m ean_mm new --data data/pets
  python -m ean_mm new --data data/pets --network resnet50 --attention sge \\
      --checkpoint torchvision://resnet50
  python -m ean_mm new --data data/pets \\
      --config mmpretrain::resnext/resnext50-32x4d_8xb32_in1k.py
  python -m ean_mm new --config my_retinanet.py --checkpoint my_retinanet.pth
"""


def add_parser(commands: Any) -> None:
    """Add the command to the subparsers of a parser."""
    new = commands.add_parser(
        'new',
        help='write configs for your images, or for your detector or segmentor',
        description='Write two configs: one that trains a network with attention, and '
        'one that searches the blocks to plug it into. They are for a folder of '
        'images, or inherit a config of mmpretrain, mmdet or mmseg. Nothing is '
        'overwritten.',
        epilog=EXAMPLES,
    )
    new.add_argument(
        '--data',
        metavar='DIR',
        help='folder of images, with a subfolder for each class, or with folders train '
        'and test (or val) that have them',
    )
    new.add_argument(
        '--config',
        help='config of mmpretrain, mmdet or mmseg to inherit; with --data, one of '
        'a classifier',
    )
    new.add_argument(
        '--network',
        choices=sorted(NETWORKS),
        help='the network without --config; default: resnet20 for images of up to 40 '
        'pixels, and resnet18 for others',
    )
    new.add_argument(
        '--attention', choices=sorted(ATTENTIONS), default='se', help='default: se'
    )
    new.add_argument(
        '--checkpoint',
        help='weights of the plain network to start from: with --data those of a '
        'classifier or of torchvision, without those of the whole network',
    )
    new.add_argument(
        '--search',
        choices=['training', 'supernet'],
        default='training',
        help='judge masks by short trainings, which says what each block brings, or in '
        "a supernet, which is the paper's; default: training",
    )
    new.add_argument(
        '--out', type=Path, default=Path(), metavar='DIR', help='default: this folder'
    )
    new.set_defaults(run=_new)


def _new(args: argparse.Namespace) -> int:
    console = terminal.console()
    by_training = args.search == 'training'
    choices = args.attention, args.checkpoint, by_training
    folder = None if args.data is None else read_image_folder(args.data)
    if args.config is not None:
        if args.network is not None:
            raise EANError('--network goes without --config, which has its network')
        pair = of_config(args.config, *choices, args.out, folder)
    elif folder is not None:
        pair = of_image_folder(folder, args.network, *choices)
    else:
        raise EANError('give --data DIR, --config CONFIG or both; --help has examples')
    train, search, bits = write_pair(pair, args.out)
    if folder is not None:
        console.print(
            f'{args.data}: {folder.images:,} training images in '
            f'{len(folder.classes)} classes, of {folder.edge} pixels',
            soft_wrap=True,
        )
    work_dir = Path('work_dirs', search.stem)
    tool = os.path.relpath(TOOLS / 'train.py')
    tool = str(TOOLS / 'train.py') if tool.startswith('..') else tool
    console.print(
        f'wrote {search}: searches a mask of {bits} bits\n'
        f'wrote {train}: trains with the mask\n\n'
        'Look at both, then run\n'
        f'    python {tool} {search}',
        soft_wrap=True,
    )
    if by_training:
        console.print(f'    python -m ean_mm mask effects {work_dir}', soft_wrap=True)
    console.print(f'    python {tool} {train}', soft_wrap=True)
    return 0
