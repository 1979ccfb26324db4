"""Pictures of masks and searches. Nothing else imports this package."""

from ean_mm.visualization.effects_plot import draw_effects
from ean_mm.visualization.mask_plot import draw_mask, draw_masks
from ean_mm.visualization.picture import require_picture

__all__ = ['draw_effects', 'draw_mask', 'draw_masks', 'require_picture']
