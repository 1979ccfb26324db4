"""Hooks that plug the supernet and the search into an OpenMMLab runner."""

from ean_mm.hooks.channels_last_hook import ChannelsLastHook
from ean_mm.hooks.checkpoint_hook import SafeCheckpointHook
from ean_mm.hooks.mask_hook import MaskHook
from ean_mm.hooks.progress_hook import RichProgressHook
from ean_mm.hooks.search_hook import EANSearchHook
from ean_mm.hooks.supernet_hook import SupernetHook

__all__ = [
    'ChannelsLastHook',
    'EANSearchHook',
    'MaskHook',
    'RichProgressHook',
    'SafeCheckpointHook',
    'SupernetHook',
]
