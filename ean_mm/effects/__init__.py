"""What attention in each block brings: read from files, and said to people.

The search computes it; here it is only read and shown.
"""

from ean_mm.effects.stored import StoredBlock, StoredEffects, StoredGain, StoredPair
from ean_mm.effects.terminal import effects_lines, print_effects

__all__ = [
    'StoredBlock',
    'StoredEffects',
    'StoredGain',
    'StoredPair',
    'effects_lines',
    'print_effects',
]
