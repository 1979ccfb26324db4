"""The scores of masks in one network, whose weights they share."""

import itertools
from contextlib import contextmanager
from functools import partial
from typing import Any, Iterator, List, Optional, Sequence, Tuple

import torch
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import Tensor, nn
from torch.nn.functional import batch_norm, cross_entropy

from ean_mm.search.evaluation.prefix_tree import ActivationCache, PrefixTree, Work
from ean_mm.search.space import Bits
from studies.bench.order import STAGE_BLOCKS
from studies.bench.training import Batch

Score = Tuple[float, float]
"""accuracy in percent, and mean loss"""


def counted_masks() -> List[Bits]:
    """Return all masks of nine blocks in the order of binary numbers."""
    return list(itertools.product((0, 1), repeat=sum(STAGE_BLOCKS)))


@torch.no_grad()
def score_masks(
    model: Any,
    masks: Sequence[Bits],
    batches: Sequence[Batch],
    training_images: Optional[Tensor] = None,
) -> List[Score]:
    """Measure a network under masks, which share what they have in common.

    Args:
        model: A classifier with a masked backbone.
        masks: The masks.
        batches: The images to measure it on.
        training_images: Preprocessed images (M, C, H, W) to estimate the statistics of
            the batch norm layers on, for each mask; None for the model's own.

    Returns:
        Accuracy and loss of each mask.
    """
    model.eval()
    tree = PrefixTree(model.backbone, ActivationCache(0), Work())
    number = 0
    if training_images is not None:  # they go along with the images, all at once
        number = len(training_images)
        images, labels = map(torch.cat, zip(*batches))
        joined = torch.cat([training_images, images])
        batches = [(joined.contiguous(memory_format=torch.channels_last), labels)]
    right = dict.fromkeys(masks, 0.0)
    loss = dict.fromkeys(masks, 0.0)
    with _statistics_of_the_first(model, number):
        for place, (images, labels) in enumerate(batches):
            for mask, features in tree.features(images, masks, place):
                kept = tuple(feature[number:] for feature in features)
                logits = model.head(model.neck(kept))
                right[mask] += float((logits.argmax(dim=1) == labels).sum())
                loss[mask] += float(cross_entropy(logits, labels, reduction='sum'))
    total = sum(len(labels) for _, labels in batches)
    return [(100 * right[mask] / total, loss[mask] / total) for mask in masks]


@contextmanager
def _statistics_of_the_first(model: nn.Module, number: int) -> Iterator[None]:
    """Let norm layers normalise by the statistics of the first images of a batch.

    These are what the layers would normalise these images by in training.

    Args:
        model: The model.
        number: How many images; 0 to leave the layers as they are.
    """
    layers: List[Any] = []
    if number:
        layers = [each for each in model.modules() if isinstance(each, _BatchNorm)]
    for layer in layers:
        layer.forward = partial(_normalised, layer, number)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _normalised(layer: Any, number: int, x: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x[:number], (0, 2, 3), correction=0)
    return batch_norm(x, mean, variance, layer.weight, layer.bias, eps=layer.eps)
