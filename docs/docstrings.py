"""Docstrings as the site shows them: Sphinx's roles become links, examples code."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r'^( *)Example:$', re.M)
ROLE = re.compile(r':(?:class|func|meth|attr):`(~?)([\w.]+)`')


class Roles(griffe.Extension):
    """Turn ``:class:`Mask``` into a link to what the API pages have of that name."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.is_module:
            obj.docstring = None  # the page says it
        if obj.docstring is None:
            return
        text = re.sub(
            r'^( *)Example:$', r'\1Examples:', obj.docstring.value, flags=re.M
        )
        obj.docstring.value = ROLE.sub(lambda match: link(obj, *match.groups()), text)


def link(obj: griffe.Object, short: str, name: str) -> str:
    """Return a link to the object that a docstring names; text if there is none."""
    shown = name.rsplit('.', 1)[-1] if short else name.removeprefix('ean_mm.')
    path = name
    if not name.startswith('ean_mm.'):
        try:
            path = obj.resolve(name)
        except griffe.NameResolutionError:
            return f'`{shown}`'
    return f'<autoref identifier="{path}" optional><code>{shown}</code></autoref>'
