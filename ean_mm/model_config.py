"""Find modules, and their classes, in the config of a model."""

from typing import Any

from mmengine.registry import MODELS

from ean_mm.errors import EANError


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


def class_of(cfg: Any, what: str, example: str, hint: str) -> Any:
    """Return the class that a config names by its ``type``.

    Args:
        cfg: Config of a module.
        what: What the module is, as ``'backbone'``.
        example: A config of such a module.
        hint: What to do where its class is not registered.

    Raises:
        ValueError: It is no config, or the class is not registered.
    """
    if not isinstance(cfg, dict) or 'type' not in cfg:
        raise EANError(f'{what}={cfg!r} is no config; give a dict as {example}')
    kind = cfg['type']
    with MODELS.switch_scope_and_registry(cfg.get('_scope_')) as registry:
        cls = registry.get(kind) if isinstance(kind, str) else kind
    if cls is None:
        raise EANError(f'{what} {kind!r} is not registered; {hint}')
    return cls
