"""Networks to deploy, and what they are compared by."""

import copy

import torch
from torch import nn

from ean_mm import EANResNet

MASKS = {18: '10-11-01-10', 50: '101-1101-110010-011'}


def build(depth=50, kind='SE', **kwargs):
    options = dict(
        base_channels=16,
        stem_channels=16,
        mask=MASKS[depth],
        attention=dict(type=kind if kind == 'Tripling' else f'{kind}Attention'),
        out_indices=(0, 1, 2, 3),
    )
    model = EANResNet(depth, **{**options, **kwargs})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    for parameter in model.attentions.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def assert_same(ours, theirs, tolerance=1e-5):
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() <= tolerance * b.norm()


@torch.no_grad()
def deployed(model, **kwargs):
    copied = copy.deepcopy(model)
    copied.switch_to_deploy(**kwargs)
    return copied
