"""Draw a mask on its network."""

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from ean_mm.mask import Mask

PLUGGED = '#d1495b'
PLAIN = '#c9ced6'
INK = '#2f3640'


def draw_mask(ax: Axes, mask: Mask, attention: str = 'attention') -> None:
    """Draw the residual blocks in a row, each stage's attention module above them.

    A line joins the module to every block that it is plugged into.

    Args:
        ax: Axes to draw on; their frame is taken away.
        mask: The mask.
        attention: What to write in the attention modules.
    """
    width, gap = 0.78, 0.7
    x = 0.0
    for number, stage in enumerate(mask.stages, 1):
        left, right = x, x + len(stage) - 1 + width
        centre = (left + right) / 2
        plugged = any(stage)
        module = min(1.9, right - left + gap - 0.2)  # clear of the neighbours'
        _box(
            ax,
            centre - module / 2,
            1.75,
            module,
            0.5,
            PLUGGED if plugged else 'white',
            edge=PLUGGED if plugged else PLAIN,
        )
        ax.text(
            centre,
            2.0,
            attention,
            ha='center',
            va='center',
            fontsize=8,
            color='white' if plugged else PLAIN,
        )
        for index, bit in enumerate(stage):
            middle = x + width / 2
            if bit:
                ax.plot([centre, middle], [1.75, 0.8], color=PLUGGED, lw=1.6, zorder=0)
            _box(
                ax,
                x,
                0,
                width,
                0.8,
                'white' if bit else PLAIN,
                edge=PLUGGED if bit else PLAIN,
            )
            ax.text(
                middle,
                0.4,
                str(bit),
                ha='center',
                va='center',
                fontsize=9,
                color=PLUGGED if bit else INK,
            )
            last = number == len(mask.stages) and index == len(stage) - 1
            step = 1.0 if index < len(stage) - 1 else 1.0 + gap
            if not last:
                ax.plot([x + width, x + step], [0.4, 0.4], color=INK, lw=1, zorder=0)
            x += step
        ax.text(
            centre,
            -0.3,
            f'stage {number}',
            ha='center',
            va='top',
            fontsize=9,
            color=INK,
        )
    ax.set_xlim(-0.4, right + 0.4)
    ax.set_ylim(-0.9, 2.5)
    ax.axis('off')


def _box(
    ax: Axes, x: float, y: float, width: float, height: float, face: str, edge: str
) -> None:
    ax.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle='round,pad=0,rounding_size=0.12',
            facecolor=face,
            edgecolor=edge,
            linewidth=1.6,
        )
    )
