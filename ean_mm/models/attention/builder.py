"""Build an attention module from its config."""

import inspect
from typing import Any

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import nn

from ean_mm.errors import EANError
from ean_mm.model_config import class_of

CHANNEL_ARGUMENTS = ('channels', 'in_channels', 'dim')
"""Names under which attention modules take their number of channels."""


def build_attention(cfg: Any, channels: int) -> nn.Module:
    """Build a registered attention module for feature maps of ``channels`` channels.

    The module may be one of this package's or any ``nn.Module`` in a registry that
    the default scope reaches. The number of channels is passed as ``channels``,
    ``in_channels`` or ``dim``, whichever its constructor takes.

    Args:
        cfg: Config with the ``type`` of the module and its arguments.
        channels: Number C of channels of the feature maps ``(N, C, H, W)``.

    Raises:
        ValueError: The type is missing, not registered or no ``nn.Module``.
    """
    known = sorted(name for name in MODELS.module_dict if name.endswith('Attention'))
    cls = class_of(
        cfg,
        'attention',
        example="dict(type='SEAttention'), or None for the plain network",
        hint=f'known here are {", ".join(known)}. Name the module that registers yours '
        "in custom_imports=dict(imports=['...'])",
    )
    kind = cfg['type']
    parameters = inspect.signature(cls).parameters
    taken = next((name for name in CHANNEL_ARGUMENTS if name in parameters), None)
    arguments = {key: cfg[key] for key in cfg if key not in ('type', '_scope_')}
    if taken is not None:
        arguments.setdefault(taken, channels)
    try:
        attention = cls(**arguments)
    except TypeError as error:
        raise EANError(f'attention {kind!r} cannot be built: {error}') from error
    if not isinstance(attention, nn.Module):
        raise EANError(f'attention {kind!r} is no nn.Module')
    if isinstance(attention, BaseModule):
        attention.init_weights()
    return attention
