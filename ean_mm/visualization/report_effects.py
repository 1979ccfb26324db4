"""The part of the page of a search that says what attention in each block brings."""

from html import escape
from typing import Mapping, Optional, Tuple

from ean_mm.effects import StoredEffects, words
from ean_mm.errors import EANError
from ean_mm.mask import Mask
from ean_mm.visualization.effects_plot import draw_effects
from ean_mm.visualization.report_html import figure_html, section, tiles_html

TITLE = "What each block's attention brings"


def read_effects(
    files: Mapping[str, Mask], stage_blocks: Mapping[str, Tuple[int, ...]]
) -> Tuple[Optional[StoredEffects], str]:
    """Read the effects in the mask files of a search.

    Args:
        files: The mask file of each module; all hold the same effects, if any.
        stage_blocks: For each module the number of blocks in each stage.

    Returns:
        The effects, None if there are none; and why they cannot be shown, or ''.
    """
    for name, mask in files.items():
        if 'effects' not in mask.info:
            continue
        source = f'mask_{name}.json'
        try:
            effects = StoredEffects.read(mask.info['effects'], source)
        except EANError as error:
            return None, str(error)
        if effects.stage_blocks != dict(stage_blocks):
            return None, f'the effects in {source} are of another network'
        return effects, ''
    return None, ''


def effects_section(effects: Optional[StoredEffects], problem: str) -> str:
    """Return the section, or why there is none; '' if nothing is known of effects."""
    if effects is None:
        return section(TITLE, f'<p>{escape(problem)}</p>') if problem else ''
    headline = words.headline(effects)
    caption = (
        f'{words.conditions(effects)} A dot is what attention in that block brings, on '
        'average over the masks of the other blocks; the line is its 95 % interval.'
    )
    gains = [
        (f'recommended mask {over}', number, meaning)
        for over, number, meaning in words.gains(effects)
    ]
    pairs = ''.join(
        f'<tr><td>{escape(names)}</td><td>{escape(points)}</td></tr>\n'
        for names, points in words.pairs(effects)
    )
    return section(
        TITLE,
        f'<p class="lead">{escape(headline)}</p>\n'
        + figure_html(draw_effects(effects), f'{TITLE}. {headline}', caption)
        + '\n'
        + tiles_html(gains + words.certainty(effects))
        + (
            f'<p>{escape(words.PAIRS)}</p>\n<table class="pairs">\n{pairs}</table>'
            if pairs
            else ''
        ),
    )
