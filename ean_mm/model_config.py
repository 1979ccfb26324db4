"""Find modules in the config of a model."""

from typing import Any


def config_of(node: Any, name: str) -> Any:
    """Return the config node of the module with a dotted name, None if unclear."""
    for part in name.split('.'):
        if isinstance(node, (list, tuple)) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        else:
            return None
    return node if isinstance(node, dict) and 'type' in node else None
