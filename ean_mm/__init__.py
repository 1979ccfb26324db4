"""EAN-MM: shared attention in OpenMMLab's ResNets, and a search for where to plug it.

Importing the package registers its modules in mmengine's root registries, so that their
bare names resolve from the scopes of mmpretrain, mmdet and mmseg alike:

    custom_imports = dict(imports=['ean_mm'])

It also changes how mmengine opens checkpoints, for the whole process: they are read as
weights, numbers and text, and nothing in them is executed
(:func:`~ean_mm.checkpoints.secure_mmengine_loaders`).
"""

from ean_mm import registry as _registry  # noqa: F401  (defines the scope ean_mm)
from ean_mm.checkpoints import secure_mmengine_loaders
from ean_mm.compat import warn_of_untested_versions
from ean_mm.datasets import DigitsDataset, HeldOutSplit
from ean_mm.deploy.compiled_backbone import CompiledBackbone
from ean_mm.errors import EANError
from ean_mm.hooks import (
    EANSearchHook,
    MaskHook,
    RichProgressHook,
    SafeCheckpointHook,
    SupernetHook,
)
from ean_mm.mask import Mask
from ean_mm.models import (
    CBAMAttention,
    DIAAttention,
    EANResNet,
    EANResNetCIFAR,
    EANResNetV1c,
    EANResNetV1d,
    EANWrapper,
    ECAAttention,
    SEAttention,
    SGEAttention,
    SharedAttentionNeck,
    SPAAttention,
)
from ean_mm.optim_wrapper import CPUAmpOptimWrapper
from ean_mm.search import RLController
from ean_mm.version import __version__

secure_mmengine_loaders()
warn_of_untested_versions()

__all__ = [
    'CBAMAttention',
    'CPUAmpOptimWrapper',
    'CompiledBackbone',
    'DIAAttention',
    'DigitsDataset',
    'EANError',
    'EANResNet',
    'EANResNetCIFAR',
    'EANResNetV1c',
    'EANResNetV1d',
    'EANSearchHook',
    'EANWrapper',
    'ECAAttention',
    'HeldOutSplit',
    'Mask',
    'MaskHook',
    'RLController',
    'RichProgressHook',
    'SEAttention',
    'SGEAttention',
    'SPAAttention',
    'SafeCheckpointHook',
    'SharedAttentionNeck',
    'SupernetHook',
    '__version__',
]
