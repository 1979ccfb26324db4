"""Convert a checkpoint of the EAN authors' code to an EAN classifier of mmpretrain.

Their convolutions have a bias, which the batch norm behind takes away again: it is
subtracted from the running mean, and predictions stay the same. Their checkpoints hold
no mask.
"""

import argparse
import re
from typing import Any, Dict, Tuple

from torch import Tensor

from ean_mm import EANError, EANResNet, Mask
from ean_mm.checkpoints import read_checkpoint, stored_weights
from ean_mm.fileio import atomic_save
from ean_mm.launch import explain_errors

ATTENTION_KEYS = {
    'SEAttention': r'share_fc\.(fc[12]\.(?:weight|bias))',
    'SGEAttention': r'share_fc\.(weight|bias)',
    'DIAAttention': r'lstm\.(w_[ih]h)\.0\.seq\.([02]\.(?:weight|bias))',
}
NORM_BEHIND = {
    'conv1': 'bn1',
    'conv2': 'bn2',
    'conv3': 'bn3',
    'downsample.0': 'downsample.1',
}


def convert(
    weights: Dict[str, Tensor], mask: Any, depth: int = 50
) -> Tuple[Dict[str, Tensor], Dict[str, Any]]:
    """Rename the weights of the authors' ResNet and fold the biases.

    Args:
        weights: Their ``state_dict``.
        mask: The mask that the network was trained with.
        depth: Depth of the network.

    Returns:
        The ``state_dict`` of an ``ImageClassifier`` with an ``EANResNet``, and its
        meta information.

    Raises:
        ValueError: The mask does not fit, or a key has no place.
    """
    stage_blocks = EANResNet.arch_settings[depth][1]
    mask = Mask.parse(mask, stage_blocks, f'EANResNet-{depth}')
    converted: Dict[str, Tensor] = {}
    biases: Dict[str, Tensor] = {}
    attentions = set()
    for key, value in weights.items():
        name = key[len('module.') :] if key.startswith('module.') else key
        attention = _attention_key(name)
        if attention is not None:
            kind, name = attention
            attentions.add(kind)
            if kind == 'SEAttention':
                value = value.squeeze((2, 3)) if value.dim() == 4 else value
            converted[f'backbone.{name}'] = value
        elif name.startswith('last_linear.'):
            converted[name.replace('last_linear', 'head.fc')] = value
        else:
            name = name.replace('.ModuleList.', '.')
            convolution = re.fullmatch(r'(.*?)(conv\d|downsample\.0)\.bias', name)
            if convolution:
                prefix, layer = convolution.groups()
                biases[f'backbone.{prefix}{NORM_BEHIND[layer]}.running_mean'] = value
            elif re.match(r'(layer\d|conv1|bn1)\.', name):
                converted[f'backbone.{name}'] = value
            else:
                raise EANError(f"{key!r} is no key of the EAN authors' ResNet")
    for mean, bias in biases.items():
        if mean not in converted:
            raise EANError(f'a convolution has a bias but no {mean} behind it')
        converted[mean] = converted[mean] - bias
    if len(attentions) > 1:
        raise EANError(
            f'more than one attention in it: {", ".join(sorted(attentions))}'
        )
    meta = dict(ean_mm=dict(masks=dict(backbone=str(mask))))
    if attentions:
        meta['ean_mm']['attention'] = attentions.pop()
    return converted, meta


def _attention_key(name: str):
    """Split an attention key into the attention's type and its key here."""
    for kind, pattern in ATTENTION_KEYS.items():
        found = re.fullmatch(rf'layer(\d)\.{pattern}', name)
        if found:
            stage, *rest = found.groups()
            return kind, '.'.join([f'attentions.{int(stage) - 1}', *rest])
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help="checkpoint of the authors' code")
    parser.add_argument('target', help='checkpoint to write')
    parser.add_argument(
        '--mask', required=True, help='mask that it was trained with: bits or a file'
    )
    parser.add_argument('--depth', type=int, default=50, help='depth of the ResNet')
    args = parser.parse_args()
    if args.depth not in EANResNet.arch_settings:
        raise EANError(f'--depth {args.depth} is unknown')
    checkpoint = read_checkpoint(args.source)
    if not isinstance(checkpoint, dict) or 'state_dict' not in checkpoint:
        raise EANError(f"{args.source} has no 'state_dict'")
    weights, meta = convert(stored_weights(checkpoint), args.mask, args.depth)
    atomic_save(dict(state_dict=weights, meta=meta), args.target)
    print(
        f'{len(weights)} weights with the mask {meta["ean_mm"]["masks"]["backbone"]} '
        f'written to {args.target}'
    )


if __name__ == '__main__':
    explain_errors(main)
