"""The protocols: what a table trains, on what, and for how long."""

from dataclasses import dataclass, field, replace
from typing import Any, Dict, Optional

# A ResNet-20 has a sixteenth of the channels of a ResNet-50 (16, 32, 64 of 256, 512,
# 1024): as wide bottlenecks for it as for four times as many channels, and SGE with as
# many channels in a group.
CIFAR_ATTENTIONS = dict(
    SE=dict(type='SEAttention', ratio=4),
    DIA=dict(type='DIAAttention', ratio=4),
    SGE=dict(type='SGEAttention', groups=4),
)


@dataclass(frozen=True)
class TableNetwork:
    """A network of a table, and the task that it is trained for.

    Args:
        config: Config that trains it, of this package.
        search: Config that trains its supernet and searches its mask; None to take the
            mask of ``config``, which was found elsewhere.
        attentions: Configs of the attentions to plug in, by their names.
        options: What to override in both configs.
        metric: Name of the metric on the test set.
        to_percent: Factor that makes percent of it.
    """

    config: str
    search: Optional[str] = None
    attentions: Dict[str, Any] = field(default_factory=lambda: CIFAR_ATTENTIONS)
    options: Dict[str, Any] = field(default_factory=dict)
    metric: str = 'accuracy/top1'
    to_percent: float = 1.0


@dataclass(frozen=True)
class Protocol:
    """How the networks of a table are trained.

    Args:
        networks: The networks by their names.
        epochs: Epochs of a network, to which the learning rate schedule of its config
            is scaled; None for the config's own.
        supernet_epochs: The same of a supernet, at the learning rate of its config.
        images_per_class: Training images of each class to use; the search holds its
            reward images out of them. None for all.
        test_images_per_class: Test images of each class to use; None for all.
        options: What to override in every config.
        supernets: Other supernets to compare by how well they rank masks: what to
            override in the configs of searches, by their names.
    """

    networks: Dict[str, TableNetwork]
    epochs: Optional[int] = None
    supernet_epochs: Optional[int] = None
    images_per_class: Optional[int] = None
    test_images_per_class: Optional[int] = None
    options: Dict[str, Any] = field(default_factory=dict)
    supernets: Dict[str, Dict[str, Any]] = field(default_factory=dict)


BALANCED = {'custom_hooks.1.sampling': 'balanced'}
DECAYED = {'param_scheduler': [dict(type='MultiStepLR', milestones=[10, 15])]}


def _cifar10(depth: int, **changes: Any) -> TableNetwork:
    return TableNetwork(
        config='ean/resnet20_se_cifar10.py',
        search='ean/resnet20_se_search_cifar10.py',
        **{'options': {'model.backbone.depth': depth}, **changes},
    )


DIGITS = Protocol(
    networks={
        'ResNet-20': TableNetwork(
            config='ean/resnet20_se_digits.py',
            search='ean/resnet20_se_search_digits.py',
        )
    },
    supernets={'balanced': BALANCED},
)
"""the data of the demo, some minutes, to try the tools with"""

# A batch takes a tenth of the time of its training step to load, so that processes of
# their own for it would cost more than they bring.
NO_WORKERS = {
    f'{side}_dataloader.{option}': value
    for side in ('train', 'val', 'test')
    for option, value in (('num_workers', 0), ('persistent_workers', False))
}

MINI = Protocol(
    networks={'ResNet-20': _cifar10(20)},
    epochs=20,
    supernet_epochs=20,
    images_per_class=1000,
    options=NO_WORKERS,
    supernets={'balanced, decayed learning rate': {**BALANCED, **DECAYED}},
)
"""a fifth of CIFAR-10, for two CPU cores"""

BENCH = Protocol(
    networks={
        'ResNet-20': TableNetwork(
            config='ean/resnet20_se_everywhere_cifar10-16px.py',
            search='ean/resnet20_se_search_cifar10-16px.py',
        )
    },
    epochs=4,
    supernet_epochs=4,
    images_per_class=600,  # 500 to train on, 100 to reward masks on
    test_images_per_class=500,
    # 40 whole batches an epoch: a rest of a few images would be a step of noise.
    options={**NO_WORKERS, 'train_dataloader.batch_size': 125},
)
"""a training of less than a minute, to train every mask there is"""

FULL = Protocol(
    networks={
        'ResNet-20': _cifar10(20),
        'ResNet-56': _cifar10(56),
        'ResNet-164': _cifar10(
            164,
            options={'model.backbone.depth': 164, 'model.head.in_channels': 256},
            # four times as many channels: as in resnet164_{se,sge}_cifar100.py
            attentions=dict(
                CIFAR_ATTENTIONS,
                SE=dict(type='SEAttention'),
                SGE=dict(type='SGEAttention', groups=16),
            ),
        ),
    }
)
"""all of CIFAR-10 by the schedule of the configs, for a GPU"""

RETINANET = TableNetwork(
    config='ean_det/retinanet_ean-r18_fpn_bccd.py',
    attentions=dict(SE=dict(type='SEAttention')),
    metric='pascal_voc/mAP',
    to_percent=100.0,
)
FCN = TableNetwork(
    config='ean_seg/fcn_ean-r18-d8_camvid.py',
    attentions=dict(SE=dict(type='SEAttention')),
    metric='mIoU',
)

TRANSFER = Protocol(networks={'RetinaNet-18, BCCD': RETINANET, 'FCN-18, CamVid': FCN})
"""a mask that was found on CIFAR-10 on two other tasks"""

HALF_WIDTH = {'model.backbone.base_channels': 32, 'model.backbone.stem_channels': 32}

TRANSFER_MINI = Protocol(
    networks={
        'RetinaNet-18, half width, BCCD': replace(
            RETINANET,
            options={
                **HALF_WIDTH,
                'model.neck.in_channels': [32, 64, 128, 256],
                'model.neck.out_channels': 64,
                'model.bbox_head.in_channels': 64,
                'model.bbox_head.feat_channels': 64,
            },
        ),
        'FCN-18, half width, CamVid': replace(
            FCN,
            options={
                **HALF_WIDTH,
                'model.decode_head.in_channels': 256,
                'model.decode_head.channels': 64,
                'model.auxiliary_head.in_channels': 128,
                'model.auxiliary_head.channels': 32,
            },
        ),
    }
)
"""the same with half of the channels, for two CPU cores"""

PROTOCOLS = {
    'digits': DIGITS,
    'mini': MINI,
    'bench': BENCH,
    'full': FULL,
    'transfer': TRANSFER,
    'transfer-mini': TRANSFER_MINI,
}
