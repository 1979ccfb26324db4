"""How a mask is judged: in a supernet, or by training it; and what counts as better."""

from ean_mm.search.evaluation.base import Evaluation, Measurement
from ean_mm.search.evaluation.calibration import BNCalibration
from ean_mm.search.evaluation.reward import Reward
from ean_mm.search.evaluation.supernet import MaskEvaluator
from ean_mm.search.evaluation.trained import TrainedEvaluation

__all__ = [
    'BNCalibration',
    'Evaluation',
    'MaskEvaluator',
    'Measurement',
    'Reward',
    'TrainedEvaluation',
]
