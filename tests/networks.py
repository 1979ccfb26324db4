"""Small networks, and weights as training would leave them."""

from torch import nn

from ean_mm import EANResNet


def randomize(model):
    """Give norm layers statistics, as training would, and set the model to eval.

    mmpretrain's and mmseg's ``eval`` return None.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    model.eval()
    return model


def small(depth=18, **kwargs):
    """Few channels, all four stages returned."""
    options = dict(base_channels=8, stem_channels=8, out_indices=(0, 1, 2, 3))
    return EANResNet(depth, **{**options, **kwargs})
