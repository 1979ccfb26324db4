"""Hooks that plug the supernet and the search into an OpenMMLab runner."""

from ean_mm.hooks.channels_last_hook import ChannelsLastHook
from ean_mm.hooks.checkpoint_hook import SafeCheckpointHook
from ean_mm.hooks.finite_check_hook import FiniteCheckHook
from ean_mm.hooks.label_check_hook import LabelCheckHook
from ean_mm.hooks.mask_hook import MaskHook
from ean_mm.hooks.progress_hook import RichProgressHook
from ean_mm.hooks.reseed_hook import ReseedHook
from ean_mm.hooks.resume_check_hook import ResumeCheckHook
from ean_mm.hooks.search_hook import EANSearchHook
from ean_mm.hooks.supernet_hook import SupernetHook
from ean_mm.hooks.unreadable_images_hook import UnreadableImagesHook

__all__ = [
    'ChannelsLastHook',
    'EANSearchHook',
    'FiniteCheckHook',
    'LabelCheckHook',
    'MaskHook',
    'ReseedHook',
    'ResumeCheckHook',
    'RichProgressHook',
    'SafeCheckpointHook',
    'SupernetHook',
    'UnreadableImagesHook',
]
