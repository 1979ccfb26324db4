"""The search for a mask: searchers, what they are rewarded with, and the loop."""

from ean_mm.search.calibration import BNCalibration
from ean_mm.search.controller import ControllerSettings, RLController
from ean_mm.search.curiosity import Curiosity
from ean_mm.search.evaluator import MaskEvaluator
from ean_mm.search.exhaustive_searcher import ExhaustiveSearcher
from ean_mm.search.optuna_searcher import OptunaSearcher
from ean_mm.search.policy import Policy
from ean_mm.search.random_searcher import RandomSearcher
from ean_mm.search.reward import Reward
from ean_mm.search.search import Evaluation, MaskSearch
from ean_mm.search.space import SearchSpace, count_parameters, masked_modules
from ean_mm.search.storage import SearchStorage

__all__ = [
    'BNCalibration',
    'ControllerSettings',
    'Curiosity',
    'Evaluation',
    'ExhaustiveSearcher',
    'MaskEvaluator',
    'MaskSearch',
    'OptunaSearcher',
    'Policy',
    'RLController',
    'RandomSearcher',
    'Reward',
    'SearchSpace',
    'SearchStorage',
    'count_parameters',
    'masked_modules',
]
