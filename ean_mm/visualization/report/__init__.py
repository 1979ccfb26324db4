"""One page about a mask search, from the files that the search leaves."""

from ean_mm.visualization.report.page import render_report
from ean_mm.visualization.report.reading import Search, read_search

__all__ = ['Search', 'read_search', 'render_report']
