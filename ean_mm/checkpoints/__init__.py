"""Checkpoints: opened without executing anything in them, and what they hold."""

from ean_mm.checkpoints.content import (
    load_trained,
    require_form,
    require_some_weights,
    require_weights,
    stored_meta,
    stored_weights,
    weight_names,
)
from ean_mm.checkpoints.reading import read_checkpoint, secure_mmengine_loaders

__all__ = [
    'load_trained',
    'read_checkpoint',
    'require_form',
    'require_some_weights',
    'require_weights',
    'secure_mmengine_loaders',
    'stored_meta',
    'stored_weights',
    'weight_names',
]
