"""Backbones and attention modules, registered in mmengine's root registry."""

from ean_mm.models.attention import (
    CBAMAttention,
    DIAAttention,
    ECAAttention,
    GateAttention,
    SEAttention,
    SGEAttention,
    SPAAttention,
    build_attention,
)
from ean_mm.models.ean_resnet import (
    EANResNet,
    EANResNetCIFAR,
    EANResNetV1c,
    EANResNetV1d,
)
from ean_mm.models.ean_wrapper import EANWrapper
from ean_mm.models.masked import count_parameters, masked_modules
from ean_mm.models.shared_attention_neck import SharedAttentionNeck

__all__ = [
    'CBAMAttention',
    'DIAAttention',
    'EANResNet',
    'EANResNetCIFAR',
    'EANResNetV1c',
    'EANResNetV1d',
    'EANWrapper',
    'ECAAttention',
    'GateAttention',
    'SEAttention',
    'SGEAttention',
    'SPAAttention',
    'SharedAttentionNeck',
    'build_attention',
    'count_parameters',
    'masked_modules',
]
