"""Optuna, an optional extra."""

from typing import Any

from ean_mm.errors import EANError


def import_optuna(with_cmaes: bool = False) -> Any:
    """Import Optuna, and let it not log a line for every study and mask.

    Args:
        with_cmaes: Whether the package cmaes is needed, too.

    Raises:
        ValueError: It is not installed.
    """
    try:
        import optuna

        if with_cmaes:
            import cmaes  # noqa: F401
    except ImportError as error:
        raise EANError(
            f'OptunaSearcher, or a pruner, needs {error.name}; pip install '
            'ean_mm[search]'
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
