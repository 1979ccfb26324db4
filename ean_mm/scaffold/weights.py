"""Weights that a network starts from."""

from typing import Any, Dict

from ean_mm.checkpoints import read_checkpoint, weight_names

PRETRAINED_FACTOR = 10
"""how much lower the learning rate is for a trained network"""


def init_cfg(checkpoint: str) -> Dict[str, Any]:
    """Return what initialises a backbone.

    Args:
        checkpoint: A file of a classifier or a backbone, or a name as
            ``'torchvision://resnet18'``.

    Raises:
        ValueError: The file is missing or damaged.
    """
    cfg = dict(type='Pretrained', checkpoint=checkpoint)
    if '://' not in checkpoint:
        names = weight_names(read_checkpoint(checkpoint))
        if any(name.startswith('backbone.') for name in names):
            cfg['prefix'] = 'backbone.'
    return cfg
