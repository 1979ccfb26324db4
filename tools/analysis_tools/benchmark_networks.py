"""The networks that are timed beside each other: ours, and those of other packages."""

import argparse
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Callable, Dict, List, Optional

import mmpretrain.models
import torch
from torch import nn

from ean_mm import EANResNet, EANWrapper, Mask
from ean_mm.deploy import MEMORY_FORMATS
from ean_mm.models import count_parameters
from ean_mm.profiling import count_flops

RESNET50_BLOCKS = (3, 4, 6, 3)
DEFAULT_MASKS = dict(
    SGE='masks/resnet50_sge_imagenet.json', DIA='masks/resnet50_dia_imagenet.json'
)
HALF = '101-1010-101010-101'


@dataclass(frozen=True)
class TimedNetwork:
    """A network to time.

    Args:
        source: The package it is from: ``'ean_mm'``, ``'mmpretrain'`` or ``'timm'``;
            ``'wrapper'`` for mmpretrain's in an ``EANWrapper``.
        network: Its name there, as ``'SEResNet-50'``.
        variant: ``'plain'``, ``'unshared'``, ``'shared'`` or a name of the mask.
        build: Makes it, with random weights.
        attention: Short name of its attention, as ``'SE'``; None if it is plain.
        mask: Its mask, for a variant of that kind.
    """

    source: str
    network: str
    variant: str
    build: Callable[[], Any] = field(compare=False)
    attention: Optional[str] = None
    mask: Optional[str] = None

    @property
    def is_reference(self) -> bool:
        """Whether it runs as the users of another package run it."""
        return self.source != 'ean_mm'

    @property
    def label(self) -> str:
        """Name in tables and figures."""
        if self.is_reference:
            return f'{self.source} {self.network.split("-")[0]}'
        return ' '.join(filter(None, (self.attention, self.variant)))


def list_networks(args: argparse.Namespace) -> List[TimedNetwork]:
    """List the networks to time, each source's plain one before its others."""
    _, blocks = EANResNet.arch_settings[args.depth]
    name = f'EANResNet-{args.depth}'
    make = partial(EANResNet, args.depth)
    networks = [TimedNetwork('ean_mm', name, 'plain', make)]
    for kind in dict.fromkeys(n.removesuffix('Attention') for n in args.attention):
        shared = partial(make, attention=dict(type=f'{kind}Attention'))
        unshared = partial(shared, share='block')
        networks.append(TimedNetwork('ean_mm', name, 'unshared', unshared, kind))
        networks.append(TimedNetwork('ean_mm', name, 'shared', shared, kind))
        masks = [Mask.parse(text, blocks, name) for text in args.masks]
        if not masks:
            default = Mask.parse(DEFAULT_MASKS.get(kind, HALF), RESNET50_BLOCKS)
            masks = [default.resize(blocks)]
        for number, mask in enumerate(masks, 1):
            variant = f'mask {number}' if len(masks) > 1 else 'mask'
            masked = partial(shared, mask=mask)
            networks.append(
                TimedNetwork('ean_mm', name, variant, masked, kind, str(mask))
            )
    for source in args.references:
        for reference, variant in ((None, 'plain'), ('SE', 'unshared')):
            name = f'{reference or ""}ResNet'
            build = _reference(source, name, args.depth)
            if build is not None:
                name = f'{name}-{args.depth}'
                networks.append(TimedNetwork(source, name, variant, build, reference))
    return networks


def _reference(source: str, name: str, depth: int) -> Optional[partial]:
    """Return what builds another package's backbone, None if it has no such depth."""
    if source == 'mmpretrain':
        cls = getattr(mmpretrain.models, name)
        return partial(cls, depth) if depth in cls.arch_settings else None
    if source == 'wrapper':
        attention = dict(type='SEAttention') if name.startswith('SE') else None
        backbone = dict(type='mmpretrain.ResNet', depth=depth)
        return partial(EANWrapper, backbone, attention=attention, share='block')
    import timm

    name = f'{name.lower()}{depth}'
    build = partial(timm.create_model, name, num_classes=0, global_pool='')
    return build if timm.is_model(name) else None


def prepare(
    network: TimedNetwork,
    deployed: bool,
    memory_format: str,
    device: str,
    training: bool = False,
) -> nn.Module:
    """Build a network; for inference, a reference in the form its users run it in."""
    model = network.build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.get_buffer('running_mean'), -0.1, 0.1)
            nn.init.uniform_(module.get_buffer('running_var'), 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    model.to(device).train(training)
    if deployed and not network.is_reference:
        model.switch_to_deploy(memory_format)
    if training or not network.is_reference:
        model.to(memory_format=MEMORY_FORMATS[memory_format])
    return model


@cache
@torch.no_grad()
def count(network: TimedNetwork, deployed: bool, image_size: int) -> Dict[str, int]:
    """Count the parameters in use, and the FLOPs for an image."""
    model = prepare(network, deployed, 'contiguous', 'cpu')
    flops = count_flops(model, torch.zeros(1, 3, image_size, image_size))
    return dict(parameters=count_parameters(model), flops=flops)
