"""Networks to deploy, and what they are compared by."""

import copy

import torch
from networks import randomize
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
    model = randomize(EANResNet(depth, **{**options, **kwargs}))
    for parameter in model.attentions.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def assert_same(ours, theirs, tolerance=1e-5):
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() <= tolerance * b.norm()


@torch.no_grad()
def deployed(model, **kwargs):
    copied = copy.deepcopy(model)
    copied.switch_to_deploy(**kwargs)
    return copied
