"""The parts that the page of a search is made of."""

import base64
import io
from html import escape
from typing import Any, Iterable, Tuple

from matplotlib.figure import Figure

# Text from files is no mathematics, and the same search gives the same page.
DRAWING: Any = {'text.parse_math': False, 'svg.hashsalt': 'ean_mm', 'font.size': 10}

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #f4f5f7; color: #2f3640;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1020px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 28px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 0 0 12px; }
section { background: white; border: 1px solid #e1e4e9; border-radius: 10px;
  padding: 20px 24px; margin-top: 20px; }
.status { margin: 0; color: #5b6472; }
.running { color: #a8324a; font-weight: 600; }
.mask { margin: 14px 0 0; }
.mask code { font-size: 24px; letter-spacing: 1px; }
.tiles { display: flex; flex-wrap: wrap; gap: 8px 40px; margin: 8px 0 20px; }
.tiles div { margin: 0; }
.tiles dt { color: #5b6472; font-size: 14px; }
.tiles dd { margin: 0; font-size: 22px; font-weight: 600; }
.tiles dd.more { font-size: 14px; font-weight: 400; color: #5b6472; max-width: 17em; }
.lead { font-size: 19px; margin: 0 0 14px; }
.caution { margin: 10px 0 0; padding: 8px 14px; background: #fdf3e3;
  border-left: 4px solid #e08214; }
.pairs { width: auto; margin-top: 6px; }
.pairs td { text-align: left; }
.diverged { color: #a8324a; font-style: normal; font-size: 13px; }
figure { margin: 0; overflow-x: auto; }
img { display: block; width: 100%; height: auto; }
figcaption { color: #5b6472; font-size: 14px; margin-top: 10px; max-width: 46em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 15px; }
th, td { padding: 6px 12px; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #e1e4e9; }
th { color: #5b6472; font-weight: 500; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
tr.best td { background: #fbeef0; font-weight: 600; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code i { font-style: normal; color: #9aa2ae; }
code b { color: #d1495b; }
.facts th, .facts td { text-align: left; vertical-align: top; white-space: normal;
  overflow-wrap: anywhere; }
.facts th { width: 13em; }
"""


def section(title: str, content: str) -> str:
    return f'<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>'


def figure_html(figure: Figure, description: str, caption: str) -> str:
    file = io.BytesIO()
    figure.savefig(file, format='svg', dpi=150, metadata=dict(Date=None))
    data = base64.b64encode(file.getvalue()).decode()
    # Not larger than drawn; a wide one scrolls before its text becomes too small.
    width = 96 * figure.get_figwidth()
    return (
        f'<figure><img alt="{escape(description)}" '
        f'style="max-width: {width:.0f}px; min-width: {0.7 * width:.0f}px" '
        f'src="data:image/svg+xml;base64,{data}">\n'
        f'<figcaption>{escape(caption)}</figcaption></figure>'
    )


def tiles_html(tiles: Iterable[Tuple[str, str, str]]) -> str:
    """Write numbers in a row: a name, the number, and what is to be added to it."""
    return (
        '<dl class="tiles">'
        + ''.join(
            f'<div><dt>{escape(name)}</dt><dd>{escape(number)}</dd>'
            + (f'<dd class="more">{escape(more)}</dd>' if more else '')
            + '</div>'
            for name, number, more in tiles
        )
        + '</dl>\n'
    )


def clean(value: Any, limit: int = 400) -> str:
    """Text of a file's value, on one line and not endless."""
    text = ''.join(char if char.isprintable() else ' ' for char in str(value))
    return text if len(text) <= limit else f'{text[: limit - 3]}...'
