"""The search for a mask: who asks, how masks are judged, and the loop between."""

from ean_mm.models.masked import count_parameters, masked_modules
from ean_mm.search.evaluation.calibration import BNCalibration
from ean_mm.search.evaluation.reward import Reward
from ean_mm.search.evaluation.supernet import MaskEvaluator
from ean_mm.search.evaluation.trained import TrainedEvaluation
from ean_mm.search.history import History, Judgement, Request
from ean_mm.search.loop import MaskSearch
from ean_mm.search.space import SearchSpace
from ean_mm.search.storage import SearchStorage
from ean_mm.search.strategies.base import BaseSearcher
from ean_mm.search.strategies.controller import ControllerSettings, RLController
from ean_mm.search.strategies.curiosity import Curiosity
from ean_mm.search.strategies.exhaustive_searcher import ExhaustiveSearcher
from ean_mm.search.strategies.optuna_searcher import OptunaSearcher
from ean_mm.search.strategies.policy import Policy
from ean_mm.search.strategies.random_searcher import RandomSearcher
from ean_mm.search.strategies.surrogate_searcher import SurrogateSearcher
from ean_mm.search.surrogate import Effects, MaskModel, block_effects

__all__ = [
    'BNCalibration',
    'BaseSearcher',
    'ControllerSettings',
    'Curiosity',
    'Effects',
    'ExhaustiveSearcher',
    'History',
    'Judgement',
    'MaskEvaluator',
    'MaskModel',
    'MaskSearch',
    'OptunaSearcher',
    'Policy',
    'RLController',
    'RandomSearcher',
    'Request',
    'Reward',
    'SearchSpace',
    'SearchStorage',
    'SurrogateSearcher',
    'TrainedEvaluation',
    'block_effects',
    'count_parameters',
    'masked_modules',
]
