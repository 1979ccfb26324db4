"""Places in Markdown files that a tool fills in."""

from pathlib import Path
from typing import Dict, Union

from ean_mm.errors import EANError
from ean_mm.fileio import atomic_write


def fill(path: Union[str, Path], blocks: Dict[str, str]) -> None:
    """Replace what is between the markers of a Markdown file.

    A place is between the lines ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->``.

    Args:
        path: The file.
        blocks: What to write, by the names of the places. A file need not have all of
            them.

    Raises:
        ValueError: There is no such file, it has none of the places, or one has no end.
    """
    path = Path(path)
    if not path.is_file():
        raise EANError(f'there is no file {path} to write the results into')
    before = after = path.read_text()
    markers = {
        name: (f'<!-- begin: {name} -->', f'<!-- end: {name} -->') for name in blocks
    }
    if not any(begin in before for begin, _ in markers.values()):
        begin, end = next(iter(markers.values()))
        raise EANError(f'{path} has no place for the results: add lines {begin} {end}')
    for name, (begin, end) in markers.items():
        if begin not in after:
            continue
        head, _, rest = after.partition(begin)
        _, found, tail = rest.partition(end)
        if not found:
            raise EANError(f'{path} has {begin} without {end} after it')
        after = f'{head}{begin}\n\n{blocks[name]}\n\n{end}{tail}'
    if after != before:
        with atomic_write(path) as file:
            file.write(after.encode())
