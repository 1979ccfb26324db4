"""Data sets of the search and of the demo."""

from ean_mm.datasets.digits import DigitsDataset
from ean_mm.datasets.held_out import HeldOutSplit
from ean_mm.datasets.load_once import LoadOnce
from ean_mm.datasets.stand_in import DatasetStandIn

__all__ = ['DatasetStandIn', 'DigitsDataset', 'HeldOutSplit', 'LoadOnce']
