"""New configs: a network with attention and its search, for images or for a config."""

from ean_mm.scaffold.attentions import ATTENTIONS
from ean_mm.scaffold.classifier import NETWORKS, of_image_folder
from ean_mm.scaffold.image_folder import ImageFolder, read_image_folder
from ean_mm.scaffold.inherited import of_config
from ean_mm.scaffold.pair import ConfigPair, write_pair

__all__ = [
    'ATTENTIONS',
    'NETWORKS',
    'ConfigPair',
    'ImageFolder',
    'of_config',
    'of_image_folder',
    'read_image_folder',
    'write_pair',
]
