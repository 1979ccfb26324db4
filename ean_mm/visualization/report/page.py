"""The page of a search: the template, filled in."""

import base64
import io
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure

from ean_mm.effects import words
from ean_mm.errors import EANError
from ean_mm.visualization.report.facts import facts
from ean_mm.visualization.report.figures import cost_label, draw_figures
from ean_mm.visualization.report.reading import Search

TEMPLATE = 'page.html.jinja'
# Text from files is no mathematics, and the same search gives the same page.
DRAWING: Any = {'text.parse_math': False, 'svg.hashsalt': 'ean_mm', 'font.size': 10}


class Picture(NamedTuple):
    """A figure that needs no file."""

    source: str
    """its data, as a URL"""
    width: float
    """as drawn, in pixels"""


def render_report(search: Search) -> str:
    """Return the HTML page of a search: one file that loads nothing else.

    Raises:
        ValueError: Jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise EANError(
            'the page of a search needs jinja2; pip install ean_mm[report]'
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    with matplotlib.rc_context(DRAWING):
        pictures = {name: embed(each) for name, each in draw_figures(search).items()}
    return environment.get_template(TEMPLATE).render(
        search=search,
        pictures=pictures,
        facts=facts(search),
        cost_label=cost_label(search),
        words=words,
    )


def embed(figure: Figure) -> Picture:
    """Turn a figure into a part of the page."""
    file = io.BytesIO()
    figure.savefig(file, format='svg', dpi=150, metadata=dict(Date=None))
    data = base64.b64encode(file.getvalue()).decode()
    return Picture(f'data:image/svg+xml;base64,{data}', 96 * figure.get_figwidth())
