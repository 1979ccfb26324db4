"""What attention in each block brings: what a search says of it, and how it is shown.

The search computes it and writes it into mask files; what a file says is read with
distrust.
"""

from ean_mm.effects.effects import (
    BlockEffect,
    Effects,
    Gain,
    PairEffect,
    Recommendation,
)
from ean_mm.effects.reading import read_effects
from ean_mm.effects.terminal import print_effects

__all__ = [
    'BlockEffect',
    'Effects',
    'Gain',
    'PairEffect',
    'Recommendation',
    'print_effects',
    'read_effects',
]
