"""What is checked of a network before and after its deployment."""

import torch
from torch import Tensor, nn

from ean_mm.errors import EANError

TOLERANCE = 1e-4
"""relative difference between the outputs that is refused"""


def require_foldable(module: nn.Module) -> None:
    """Refuse layers that mmcv's ``fuse_conv_bn`` would fold into something else."""
    for name, layer in module.named_modules():
        if name.startswith('attentions'):
            continue
        own_conv = isinstance(layer, nn.Conv2d) and type(layer).forward is not (
            nn.Conv2d.forward
        )
        if own_conv or hasattr(layer, 'deform_groups'):
            raise EANError(
                f'{name} is a {type(layer).__name__}, into which no norm layer can be '
                'folded; a network with it cannot be deployed'
            )
        if isinstance(layer, nn.BatchNorm2d) and (
            layer.weight is None or layer.running_var is None
        ):
            raise EANError(
                f'{name} has no weights or no running statistics to fold; a network '
                'with it cannot be deployed'
            )


@torch.inference_mode()
def require_same_outputs(
    trained: nn.Module, deployed: nn.Module, images: Tensor, name: str
) -> float:
    """Refuse a deployed network that computes something else than the trained one.

    Args:
        trained: The network, a backbone.
        deployed: A copy of it after ``switch_to_deploy``.
        images: What to run both on, ``(N, C, H, W)``.
        name: What to call it in the error.

    Returns:
        The greatest relative difference of the feature maps.

    Raises:
        ValueError: It is not below :data:`TOLERANCE`.
    """
    difference = max(
        ((ours - theirs).norm() / theirs.norm()).item()
        for ours, theirs in zip(deployed(images), trained(images))
    )
    if not difference < TOLERANCE:
        raise EANError(
            f'the outputs of {name} differ by {difference:.1e} after deployment, more '
            f'than {TOLERANCE:.0e}; use it as it was trained'
        )
    return difference
