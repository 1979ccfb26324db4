"""A model of all masks from few judgements: what to judge next, what blocks bring."""

from ean_mm.effects import Effects
from ean_mm.search.surrogate.block_effects import block_effects
from ean_mm.search.surrogate.kernel import MaskKernel
from ean_mm.search.surrogate.model import MaskModel

__all__ = ['Effects', 'MaskKernel', 'MaskModel', 'block_effects']
