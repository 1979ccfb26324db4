"""A classifier with attention, and its search, for a folder of images."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ean_mm.scaffold.attentions import attention_config
from ean_mm.scaffold.image_folder import ImageFolder
from ean_mm.scaffold.pair import ConfigPair
from ean_mm.scaffold.schedule import search_budget
from ean_mm.scaffold.weights import PRETRAINED_FACTOR, init_cfg


@dataclass(frozen=True)
class Network:
    """A ResNet of those in ``configs/_base_/models``."""

    base: str
    """its base config"""
    depth: int
    stage_channels: int
    """of the first stage"""
    features: int
    """channels that its head takes"""
    batch_size: int
    learning_rate: float
    """for this batch, from scratch"""


NETWORKS = dict(
    resnet20=Network('ean_resnet20_cifar', 20, 16, 64, 64, 0.05),
    resnet56=Network('ean_resnet20_cifar', 56, 16, 64, 64, 0.05),
    resnet18=Network('ean_resnet50', 18, 64, 512, 32, 0.0125),
    resnet34=Network('ean_resnet50', 34, 64, 512, 32, 0.0125),
    resnet50=Network('ean_resnet50', 50, 256, 2048, 32, 0.0125),
    resnet101=Network('ean_resnet50', 101, 256, 2048, 32, 0.0125),
)
SMALL_IMAGES = 40
"""pixels up to which a network of CIFAR's is taken, which does not shrink them first"""
LARGEST_IMAGE, SMALLEST_IMAGE = 224, 64
MOST_EPOCHS, LEAST_EPOCHS, IMAGES_SEEN = 100, 20, 1_000_000


def of_image_folder(
    folder: ImageFolder,
    network: Optional[str],
    attention: str,
    checkpoint: Optional[str],
    by_training: bool,
) -> ConfigPair:
    """Return the configs of a classifier for a folder of images.

    Args:
        folder: What the folder has.
        network: One of :data:`NETWORKS`; None for one that fits the images' size.
        attention: One of :data:`~ean_mm.scaffold.ATTENTIONS`.
        checkpoint: Weights to start from, of a classifier or of torchvision; a file,
            or a name as ``'torchvision://resnet18'``.
        by_training: Whether the search trains masks; else it trains a supernet.

    Raises:
        ValueError: The checkpoint cannot be read.
    """
    network = network or ('resnet20' if folder.edge <= SMALL_IMAGES else 'resnet18')
    facts = NETWORKS[network]
    small = facts.base == 'ean_resnet20_cifar'
    epochs = min(max(IMAGES_SEEN // folder.trained_on, LEAST_EPOCHS), MOST_EPOCHS)
    reward_images = folder.held_out_for_reward * len(folder.classes)
    iterations = math.ceil((folder.trained_on - reward_images) / facts.batch_size)
    return ConfigPair(
        name=f'{network}_{Path(folder.root).resolve().name}_{attention}',
        template='classifier.py.jinja',
        facts=dict(
            folder=folder,
            network=f'ResNet-{facts.depth}',
            facts=facts,
            small=small,
            image_size=32 if small else _image_size(folder.edge),
            attention=attention_config(
                attention, facts.stage_channels, checkpoint is not None
            ),
            init_cfg=checkpoint and init_cfg(checkpoint),
            learning_rate=facts.learning_rate
            / (PRETRAINED_FACTOR if checkpoint else 1),
            topk=folder.topk,
            epochs=epochs,
            interval=max(epochs // 10, 1),
        ),
        search=dict(
            by_training=by_training,
            budget=search_budget(epochs, iterations),
            what='images of each class',
            held_out=folder.held_out_for_reward,
            per_class=True,
            images='_base_.train_dataloader.dataset',
            depth=0,
            pipeline='_base_.test_pipeline',
            reward=dict(metric='accuracy/top1', unit='percent'),
            boxes_from_images=False,
            own_hooks=False,
            has_mask_hook=False,
            warm_ups=0,
        ),
    )


def _image_size(edge: int) -> int:
    """Return the size of the network's input: a multiple of 32 below the images'."""
    return min(max(edge // 32 * 32, SMALLEST_IMAGE), LARGEST_IMAGE)
