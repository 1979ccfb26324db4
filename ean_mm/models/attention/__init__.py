"""Attention modules: one mechanism a file."""

from ean_mm.models.attention.base import GateAttention, attend
from ean_mm.models.attention.builder import build_attention
from ean_mm.models.attention.cbam import CBAMAttention
from ean_mm.models.attention.dia import DIAAttention
from ean_mm.models.attention.eca import ECAAttention
from ean_mm.models.attention.se import SEAttention
from ean_mm.models.attention.sge import SGEAttention
from ean_mm.models.attention.spa import SPAAttention

__all__ = [
    'CBAMAttention',
    'DIAAttention',
    'ECAAttention',
    'GateAttention',
    'SEAttention',
    'SGEAttention',
    'SPAAttention',
    'attend',
    'build_attention',
]
