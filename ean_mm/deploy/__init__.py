"""What turns a trained network into one for inference."""

from ean_mm.deploy.check import require_same_outputs
from ean_mm.deploy.export import export
from ean_mm.deploy.folding import MEMORY_FORMATS

__all__ = ['MEMORY_FORMATS', 'export', 'require_same_outputs']
