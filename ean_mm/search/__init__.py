"""The search for a mask: who asks, how masks are judged, and the loop between."""

from ean_mm.models.masked import count_parameters, masked_modules
from ean_mm.search.evaluation import (
    BNCalibration,
    MaskEvaluator,
    Reward,
    TrainedEvaluation,
)
from ean_mm.search.history import History, Judgement, Request
from ean_mm.search.loop import MaskSearch
from ean_mm.search.space import SearchSpace
from ean_mm.search.storage import SearchStorage
from ean_mm.search.strategies import (
    BaseSearcher,
    ControllerSettings,
    Curiosity,
    ExhaustiveSearcher,
    OptunaSearcher,
    Policy,
    RandomSearcher,
    RLController,
    SurrogateSearcher,
)
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
