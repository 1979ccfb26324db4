"""What a config's types are called: names in the usual configs, classes in pure Python.

In the latter, which have their bases in ``with read_base():``, a ``type`` is the class
itself, https://mmengine.readthedocs.io/en/latest/advanced_tutorials/config.html.
"""

from typing import Any, Optional

from mmengine.config import Config

TOOLBOXES = ('mmpretrain', 'mmdet', 'mmseg')


def type_name(node: Any, default: str = '') -> str:
    """Return the bare name of a config's ``type``, without a scope or a module.

    Args:
        node: The config of a module, a hook, ...
        default: The name of one that does not say its type.
    """
    kind = (node or {}).get('type') or default
    return str(getattr(kind, '__name__', kind)).rpartition('.')[2]


def toolbox_of(cfg: Config) -> Optional[str]:
    """Return the toolbox that a config is for, as ``'mmdet'``, None for no other.

    It is that of the ``default_scope``, or of the model's class.
    """
    kind = (cfg.get('model') or {}).get('type')
    module = kind if isinstance(kind, str) else getattr(kind, '__module__', '')
    for name in (cfg.get('default_scope'), module.partition('.')[0]):
        if name in TOOLBOXES:
            return name
    return None
