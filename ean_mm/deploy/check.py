"""Whether a deployed network computes what the trained one does."""

import torch
from torch import Tensor, nn

from ean_mm.errors import EANError

TOLERANCE = 1e-4
"""relative difference between the outputs in float32 that is refused"""


@torch.inference_mode()
def require_same_outputs(
    trained: nn.Module,
    deployed: nn.Module,
    images: Tensor,
    name: str,
    tolerance: float = TOLERANCE,
) -> float:
    """Refuse a deployed network that computes something else than the trained one.

    Args:
        trained: The network, a backbone.
        deployed: A copy of it after ``switch_to_deploy``.
        images: What to run both on, ``(N, C, H, W)``.
        name: What to call it in the error.
        tolerance: Relative difference that is refused.

    Returns:
        The greatest relative difference of the feature maps.

    Raises:
        ValueError: It is not below the tolerance.
    """
    difference = max(
        ((ours - theirs).norm() / theirs.norm()).item()
        for ours, theirs in zip(deployed(images), trained(images))
    )
    if not difference < tolerance:
        raise EANError(
            f'the outputs of {name} differ by {difference:.1e} after deployment, more '
            f'than {tolerance:.0e}; use it as it was trained'
        )
    return difference
