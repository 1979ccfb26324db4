"""Who asks: the strategies, which decide what masks to judge next."""

from ean_mm.search.strategies.base import BaseSearcher
from ean_mm.search.strategies.controller import ControllerSettings, RLController
from ean_mm.search.strategies.curiosity import Curiosity
from ean_mm.search.strategies.exhaustive_searcher import ExhaustiveSearcher
from ean_mm.search.strategies.optuna_searcher import OptunaSearcher
from ean_mm.search.strategies.policy import Policy
from ean_mm.search.strategies.random_searcher import RandomSearcher
from ean_mm.search.strategies.surrogate_searcher import SurrogateSearcher

__all__ = [
    'BaseSearcher',
    'ControllerSettings',
    'Curiosity',
    'ExhaustiveSearcher',
    'OptunaSearcher',
    'Policy',
    'RLController',
    'RandomSearcher',
    'SurrogateSearcher',
]
