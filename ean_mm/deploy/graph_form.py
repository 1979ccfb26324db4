"""The form of a network that runtimes run fast, with the same outputs.

SGE has one gate map for each group of successive channels. Runtimes keep the channels
of a position side by side in memory and multiply many of them at once, but not by a
factor that changes every 4 to 32 channels. So in a stage with SGE the channels are
reordered, those of the same place in their groups together: the gates of a position
are then a row that is used C / G times. The order costs nothing, for it is that of the
weights, and only the maps that the backbone returns are put in order again.
"""

import copy
from functools import partial
from typing import Any, List, Optional, Sequence

import torch
from mmpretrain.models.classifiers import BaseClassifier
from torch import Tensor, nn
from torch.nn import functional as F

from ean_mm.models.attention import SGEAttention
from ean_mm.models.attention.base import gives_gate
from ean_mm.models.attention.sge import SGEForInput
from ean_mm.models.blocks import EANBottleneck
from ean_mm.models.ean_resnet import EANResNet
from ean_mm.models.masked import modules_at


def in_graph_form(network: nn.Module, planar: bool) -> nn.Module:
    """Return a network as it is to be exported.

    What has no faster form stays as it is: other attention than SGE, and other
    backbones than a deployed :class:`~ean_mm.EANResNet` of bottlenecks.

    Args:
        network: A backbone, a classifier, or any other module, which is not changed.
        planar: Whether the runtime keeps the maps between convolutions with attention
            in the order ``(N, C, H, W)``, as ONNX Runtime, or ``(N, H, W, C)``, as
            OpenVINO.
    """
    backbone = _backbone(network)
    if backbone is None or not any(map(_groups, backbone.stages)):
        return network
    network = copy.deepcopy(network)
    backbone = _backbone(network)
    groups = [_groups(stage) for stage in backbone.stages]
    following = [*(stage[0] for stage in backbone.stages[1:]), None]
    for stage, number, block in zip(backbone.stages, groups, following):
        if number:
            _reorder(stage, number, block)
            _plug_in(stage, planar)
    returned = [groups[index] for index in backbone.out_indices]
    backbone.register_forward_hook(partial(_in_first_order, returned))
    return network


def _backbone(network: Any) -> Any:
    """Return the deployed ``EANResNet`` that a network runs as a whole, or None."""
    backbone = network.backbone if isinstance(network, BaseClassifier) else network
    deployed = isinstance(backbone, EANResNet) and backbone.deployed
    return backbone if deployed else None


def _groups(stage: Any) -> int:
    """Return the number of groups of a stage's SGE, 0 if it has no faster form."""
    used: List[Any] = [each for each in modules_at(stage.places) if each is not None]
    groups = {
        module.groups
        if type(module) in (SGEAttention, SGEForInput) and gives_gate(module)
        else 0
        for module in used
    }
    fits = stage[0].downsample is not None and all(
        isinstance(block, EANBottleneck) and isinstance(block.norm3, nn.Identity)
        for block in stage
    )
    return groups.pop() if fits and len(groups) == 1 else 0


@torch.no_grad()
def _reorder(stage: Any, groups: int, following: Optional[Any]) -> None:
    """Reorder the channels of what a stage's blocks return, in the weights."""
    (shortcut,) = (m for m in stage[0].downsample if isinstance(m, nn.Conv2d))
    order = torch.arange(shortcut.out_channels).view(groups, -1).t().flatten()
    for conv in (shortcut, *(block.conv3 for block in stage)):
        conv.weight.copy_(conv.weight[order])
        if conv.bias is not None:
            conv.bias.copy_(conv.bias[order])
    readers = [block.conv1 for block in [*stage][1:]]
    if following is not None:
        readers.append(following.conv1)
        readers += [m for m in following.downsample if isinstance(m, nn.Conv2d)]
    for conv in readers:
        conv.weight.copy_(conv.weight[:, order])


def _in_first_order(
    groups: Sequence[int], backbone: nn.Module, args: Any, maps: Sequence[Tensor]
) -> Any:
    """Return the maps of a backbone with their channels in the order of the groups."""
    return tuple(
        x.flatten(2).unflatten(1, (-1, number)).transpose(1, 2).reshape(x.shape)
        if number
        else x
        for x, number in zip(maps, groups)
    )


def _plug_in(stage: Any, planar: bool) -> None:
    """Let the last convolutions of blocks attend to what they return."""
    attentions: List[Any] = modules_at(stage.places)
    for block, attention in zip(stage, attentions):
        if attention is not None:
            block.conv3 = SGEConv(block.conv3, attention, planar)
    stage.places = ()


class SGEConv(nn.Module):
    """A 1x1 convolution followed by SGE, its channels ordered by place in the group.

    Args:
        conv: The convolution, reordered already.
        attention: The attention to what it returns.
        planar: See :func:`in_graph_form`.
    """

    def __init__(self, conv: nn.Conv2d, attention: SGEAttention, planar: bool) -> None:
        super().__init__()
        self.conv = conv
        self.eps, self.groups = attention.eps, attention.groups
        self.size = conv.out_channels // self.groups
        self.planar = planar
        # The similarity is read off the input, as in SGEForInput, where it has fewer
        # channels than there are weights to read. ONNX Runtime would have to reorder
        # the output first.
        self.from_input = planar or self.size <= 8
        by_input = conv.weight.detach()[..., 0, 0].t()
        self.projections = by_input.reshape(-1, self.size, self.groups)
        weight, bias = attention.weight.detach(), attention.bias.detach()
        self.scale, self.shift = weight.flatten(), bias.flatten()
        self.gate = nn.Conv2d(self.groups, self.groups, 1)
        self.gate.weight = nn.Parameter(torch.diag(self.scale)[..., None, None])
        self.gate.bias = nn.Parameter(self.shift)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attended output ``(N, C, H, W)`` for ``x``."""
        y = self.conv(x)
        if self.from_input:
            similarity = self.similarity_of_input(x)
        else:
            similarity = self.similarity_of_output(y)
        normalised = self.normalise(similarity)  # (N, H * W, groups)
        if self.planar:
            # A convolution, so that the next ones are computed in its blocked order.
            maps = normalised.transpose(1, 2).unflatten(2, y.shape[2:])
            return y * torch.cat([self.gate(maps).sigmoid()] * self.size, 1)
        gate = (normalised * self.scale + self.shift).sigmoid()
        rows = y.permute(0, 2, 3, 1)
        by_place = rows.flatten(1, 2).unflatten(2, (self.size, self.groups))
        return (by_place * gate.unsqueeze(2)).reshape(rows.shape).permute(0, 3, 1, 2)

    def similarity_of_input(self, x: Tensor) -> Tensor:
        """Return the similarity ``(N, H * W, groups)``, but for a constant of each."""
        weight = self.conv.weight.flatten(1)
        mean = F.linear(x.mean((2, 3)), weight, self.conv.bias)
        mean = mean.unsqueeze(1).unflatten(2, (self.size, self.groups))
        projection = (mean * self.projections).sum(2)  # (N, C_in, groups)
        return x.permute(0, 2, 3, 1).flatten(1, 2) @ projection

    def similarity_of_output(self, y: Tensor) -> Tensor:
        """Return the similarity ``(N, H * W, groups)``."""
        products = (y * y.mean((2, 3), keepdim=True)).permute(0, 2, 3, 1)
        return products.flatten(1, 2).unflatten(2, (self.size, self.groups)).sum(2)

    def normalise(self, similarity: Tensor) -> Tensor:
        """Return ``(n - mean) / (std + eps)`` over the positions, as SGE does it."""
        centred = similarity - similarity.mean(1, keepdim=True)
        freedom = max(similarity.shape[1] - 1, 1)
        variance = centred.square().sum(1, keepdim=True) / freedom
        smallest = torch.finfo(variance.dtype).tiny
        return centred / (variance.clamp(min=smallest).sqrt() + self.eps)
