"""The model zoo: what the metafiles of the configs list.

``model-index.yml`` and the metafiles have OpenMMLab's format, which mim, mmengine's hub
and mmpretrain's ``ModelHub`` read. Paths in them are relative to the index.
"""

from pathlib import Path
from typing import Any, Dict, List, Tuple

import yaml

from ean_mm.errors import EANError, one_line

# in a checkout a link to the one at its root
INDEX = (Path(__file__).parent / '.mim' / 'model-index.yml').resolve()
CONFIGS = INDEX.parent / 'configs'
TOOLS = INDEX.parent / 'tools'

Entry = Dict[str, Any]


def read_metafile(path: Path) -> Dict[str, Any]:
    """Read a metafile, or the index.

    Raises:
        ValueError: There is no such file, or it is no YAML.
    """
    if not path.is_file():
        raise EANError(f'there is no metafile {path}')
    try:
        return yaml.safe_load(path.read_text())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise EANError(f'metafile {path} cannot be read: {one_line(error)}') from error


def zoo_entries(index: Path = INDEX) -> List[Entry]:
    """Return the entries of all metafiles that have weights."""
    return [
        entry
        for name in read_metafile(index)['Import']
        for entry in read_metafile(index.parent / name)['Models']
        if 'Weights' in entry
    ]


def find_network(name: str) -> Tuple[str, str]:
    """Return the paths of the config and the checkpoint of a network in the zoo.

    Raises:
        ValueError: There is none of that name.
    """
    entries = {entry['Name']: entry for entry in zoo_entries()}
    if name not in entries:
        raise EANError(
            f'there is no {name!r} in the model zoo; it has '
            f'{", ".join(entries) or "no networks"}'
        )
    paths = (INDEX.parent / entries[name][key] for key in ('Config', 'Weights'))
    config, weights = map(str, paths)
    return config, weights
