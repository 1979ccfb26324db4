"""How many predictions of a deployed model are those of the trained one."""

from typing import Any, Optional, Sequence

import torch
from torch import Tensor


@torch.inference_mode()
def agreement(trained: Any, deployed: Any, batches: Sequence[Any]) -> Optional[float]:
    """Return the percentage of labels, or of labelled pixels, that two models share.

    Args:
        trained: A model of a toolbox.
        deployed: What is to predict the same.
        batches: What their ``test_step`` takes.

    Returns:
        The percentage, None of models that predict neither, as detectors.
    """
    pairs = [
        (_labels(ours), _labels(theirs))
        for batch in batches
        for ours, theirs in zip(deployed.test_step(batch), trained.test_step(batch))
    ]
    same = [a.eq(b).flatten() for a, b in pairs if a is not None and b is not None]
    return 100 * torch.cat(same).float().mean().item() if same else None


def _labels(prediction: Any) -> Optional[Tensor]:
    """Return what mmpretrain or mmseg predicts for an image."""
    pixels = prediction.get('pred_sem_seg')
    return prediction.get('pred_label') if pixels is None else pixels.data
