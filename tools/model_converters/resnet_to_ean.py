"""Convert a ResNet or SE-ResNet checkpoint of an OpenMMLab toolbox for EANResNet.

A plain ResNet's keys are EANResNet's already, deep stems of mmdet and mmseg aside, so
that its checkpoint also loads as it is. The modules of mmpretrain's SE-ResNet become
unshared attention, ``EANResNet(attention=dict(type='SEAttention'), share='block')``.
"""

import argparse
import re
from collections import Counter
from typing import Dict, Tuple

from torch import Tensor

from ean_mm import EANError
from ean_mm.checkpoints import read_checkpoint, stored_weights
from ean_mm.fileio import atomic_save
from ean_mm.launch import explain_errors

SE_KEY = r'(.*?)layer(\d)\.(\d+)\.se_layer\.conv([12])\.conv\.(weight|bias)'
BACKBONE_KEY = r'(backbone\.)?(conv1|bn1|stem|layer\d)\..*'


def convert(weights: Dict[str, Tensor]) -> Tuple[Dict[str, Tensor], Counter]:
    """Rename the SE modules of a checkpoint; keep all other keys.

    Args:
        weights: The ``state_dict``.

    Returns:
        The converted ``state_dict`` and how many keys went where.
    """
    converted, report = {}, Counter()
    for key, value in weights.items():
        found = re.fullmatch(SE_KEY, key)
        if found:
            prefix, stage, block, layer, kind = found.groups()
            key = f'{prefix}attentions.{int(stage) - 1}.{block}.fc{layer}.{kind}'
            value = value.squeeze((2, 3)) if value.dim() == 4 else value
            report['attention (share=block)'] += 1
        elif re.fullmatch(BACKBONE_KEY, key):
            report['backbone'] += 1
        else:
            report['kept as it is (head, neck)'] += 1
        converted[key] = value
    return converted, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='checkpoint of mmpretrain, mmdet or mmseg')
    parser.add_argument('target', help='checkpoint to write')
    args = parser.parse_args()
    checkpoint = read_checkpoint(args.source)
    weights = stored_weights(checkpoint)
    if not weights:
        raise EANError(f'{args.source} holds no weights')
    converted, report = convert(weights)
    if not report['backbone']:
        raise EANError(
            f'{args.source} holds no ResNet: its first key is {next(iter(weights))!r}'
        )
    atomic_save(dict(state_dict=converted, meta={}), args.target)
    for target, number in report.items():
        print(f'{number:>5} {target}')


if __name__ == '__main__':
    explain_errors(main)
