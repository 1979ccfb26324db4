"""Options of a config on the command line."""

import argparse
import re
from pathlib import Path
from typing import Any, Optional, Sequence, Union

from mmengine.config import DictAction

PATHS = (
    'ann_file',
    'checkpoint',
    'data_root',
    'load_from',
    'mask',
    'out_dir',
    'resume_from',
    'save_dir',
    'work_dir',
)
"""last parts of the keys whose values are paths if they look like one"""


class OptionAction(DictAction):
    """Reads ``KEY=VALUE`` as mmengine's ``DictAction``, but changes no path.

    That one removes all spaces and makes a list of what has a comma. Here text with
    spaces, the path of something that exists, what looks like a path in one of
    :data:`PATHS`, and what is in quotes of its own (``'KEY="a, b"'``) stay as they are.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Union[str, Sequence[Any], None],
        option_string: Optional[str] = None,
    ) -> None:
        options = dict(getattr(namespace, self.dest, None) or {})
        for option in values or ():
            key, equals, value = option.partition('=')
            if not equals:
                raise argparse.ArgumentError(self, f'{option!r} is no KEY=VALUE')
            options[key] = read_value(key, value)
        setattr(namespace, self.dest, options)


def read_value(key: str, value: str) -> Any:
    """Return what a value of the command line means.

    Args:
        key: The option, as ``'model.backbone.mask'``.
        value: Its text.
    """
    sequence = re.fullmatch(r'[\'"]?[\[(].*[\])][\'"]?', value)
    if sequence or not re.search(r'[ ,()\[\]]', value):
        return DictAction._parse_iterable(value)
    quoted = re.fullmatch(r'(["\'])(.*)\1', value)
    if quoted:
        return quoted[2]
    if _is_path(key, value) or ',' not in value:
        return value.strip()
    return DictAction._parse_iterable(value)


def _is_path(key: str, value: str) -> bool:
    if Path(value).exists():
        return True
    looks = re.search(r'[/\\]|\.[A-Za-z]\w*$', value)
    return bool(looks) and key.rpartition('.')[2] in PATHS
