"""Colours and axes that the pictures have in common."""

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

PLUGGED = '#d1495b'
PLAIN = '#c9ced6'
INK = '#2f3640'
UNKNOWN = '#8d96a3'
WHITE_TO_PLUGGED = LinearSegmentedColormap.from_list('plugged', ['white', PLUGGED])


def whole_numbers() -> MaxNLocator:
    """Return a locator of few ticks, all at whole numbers."""
    return MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)


def tidy(ax: Axes, ylabel: str) -> None:
    """Name the values of axes and take away what only frames them."""
    ax.set_ylabel(ylabel)
    ax.spines[['top', 'right']].set_visible(False)
    ax.grid(axis='y', color=PLAIN, lw=0.5, alpha=0.6)
    ax.set_axisbelow(True)
