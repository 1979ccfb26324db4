"""The two configs that ``new`` writes, from two templates."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import jinja2
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from ean_mm.errors import EANError, one_line
from ean_mm.launch import load_config
from ean_mm.search.space import SearchSpace

FEW_BITS = 9
"""bits of a mask up to which a search takes fewer steps"""
STEPS, STEPS_OF_FEW_BITS, MASKS_PER_STEP = 10, 6, 4


@dataclass(frozen=True)
class ConfigPair:
    """A config that trains a network with a mask, and one that searches the mask."""

    name: str
    """what their files are called: ``NAME.py`` and ``NAME_search.py``"""
    template: str
    """of the config that trains"""
    facts: Dict[str, Any]
    """what the template says"""
    search: Dict[str, Any]
    """what the template of the search says besides"""


def write_pair(pair: ConfigPair, folder: Path) -> Tuple[Path, Path, int]:
    """Write two configs, and see that they load and that the network builds.

    Args:
        pair: What they say.
        folder: Where to.

    Returns:
        The path of the config that trains, that of the one that searches, and the
        number of bits of the mask.

    Raises:
        ValueError: A file of that name exists, or the configs do not work; then none
            of them is left.
    """
    train, search = folder / f'{pair.name}.py', folder / f'{pair.name}_search.py'
    for path in (train, search):
        if path.exists():
            raise EANError(
                f'{path} exists and is not overwritten; move it away, or name another '
                'folder with --out'
            )
    folder.mkdir(parents=True, exist_ok=True)
    facts = dict(pair.facts, name=pair.name, **pair.search)
    with _removed_on_error() as written:
        _write(train, pair.template, facts, written)
        bits = _num_bits(load_config(str(train), _EVERYWHERE, None))
        facts['num_steps'] = STEPS if bits > FEW_BITS else STEPS_OF_FEW_BITS
        facts['masks_per_step'] = MASKS_PER_STEP
        _write(search, 'search.py.jinja', facts, written)
        load_config(str(search), None, None)
    return train, search, bits


_EVERYWHERE = {'model.backbone.mask': 'all'}  # the searched mask is not there yet


def _num_bits(cfg: Config) -> int:
    """Build the network of a config, and count the bits of its mask."""
    scope = cfg.get('default_scope', 'mmengine')
    try:
        with DefaultScope.overwrite_default_scope(scope):
            return SearchSpace(MODELS.build(cfg.model)).num_bits
    except EANError:
        raise
    except Exception as error:  # a model is its author's program
        raise EANError(
            f'the network of {cfg.filename} cannot be built with attention: '
            f'{one_line(error)}'
        ) from error


@contextlib.contextmanager
def _removed_on_error() -> Iterator[List[Path]]:
    """Give a list for files that were written, and remove these after an error."""
    written: List[Path] = []
    try:
        yield written
    except BaseException:
        for path in written:
            path.unlink()
        raise


def _write(
    path: Path, template: str, facts: Dict[str, Any], written: List[Path]
) -> None:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters['python'] = as_python
    text = environment.get_template(template).render(facts)
    with path.open('x') as file:
        written.append(path)
        file.write(text)


def as_python(value: Any) -> str:
    """Write a value as configs do, a dict as ``dict(type='SEAttention', ratio=4)``."""
    if isinstance(value, dict):
        return f'dict({", ".join(f"{k}={as_python(v)}" for k, v in value.items())})'
    return repr(value)
