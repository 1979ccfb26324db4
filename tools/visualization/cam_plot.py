"""Draw what networks look at, side by side."""

from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

import numpy as np
from matplotlib.figure import Figure

from ean_mm.visualization.style import INK, PLUGGED

WIDTH = 1.7
"""of a picture, in inches"""


@dataclass(frozen=True)
class Attended:
    """Where a network looked for the class that it predicted.

    Args:
        heat: ``(H, W)`` from 0 to 1, with as many pixels as the image.
        predicted: Name of the class.
        probability: Of this class, from 0 to 1.
    """

    heat: np.ndarray
    predicted: str
    probability: float


def draw_cams(
    images: Sequence[np.ndarray],
    labels: Sequence[Optional[str]],
    columns: Sequence[Tuple[str, Sequence[Attended]]],
) -> Figure:
    """Draw one image a row, as it is and under the heat map of each network.

    Below a heat map is the predicted class, in red where it is wrong.

    Args:
        images: ``(H, W, 3)``, RGB from 0 to 255.
        labels: True class of each image, None where it is not known.
        columns: Title and heat maps of each network.

    Returns:
        A figure to save.
    """
    figure = Figure(
        figsize=(WIDTH * (1 + len(columns)), 1.16 * WIDTH * len(images) + 0.25),
        layout='constrained',
    )
    axes = figure.subplots(len(images), 1 + len(columns), squeeze=False)
    for row, image, label in zip(axes, images, labels):
        for ax in row:
            ax.imshow(image, interpolation='catrom')
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        row[0].set_xlabel(label or '', fontsize=9, color=INK)
    axes[0, 0].set_title('image', fontsize=10, color=INK)
    for column, (title, cams) in zip(axes.T[1:], columns):
        column[0].set_title(title, fontsize=10, color=INK)
        for ax, cam, label in zip(column, cams, labels):
            ax.imshow(
                cam.heat, cmap='turbo', vmin=-0.1, vmax=1.2, alpha=0.5,
                interpolation='catrom')  # fmt: skip
            wrong = label is not None and label != cam.predicted
            ax.set_xlabel(
                f'{cam.predicted}, {100 * cam.probability:.0f} %',
                fontsize=9,
                color=PLUGGED if wrong else INK,
            )
    return figure
