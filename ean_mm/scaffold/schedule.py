"""How long a search by training trains each mask."""

SHARE = 10
"""a mask is trained for this part of a whole training"""


def search_budget(epochs: int, iterations: int) -> int:
    """Return the iterations of a mask's training.

    Args:
        epochs: Of the whole training; each keeps an iteration at least.
        iterations: Of one of these epochs.
    """
    return max(epochs, round(epochs * iterations / SHARE))
