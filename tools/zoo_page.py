"""The page of the model zoo, and a network's entry in a metafile."""

from pathlib import Path
from typing import List

import jinja2
import yaml

from ean_mm.errors import EANError
from ean_mm.fileio import atomic_write
from ean_mm.zoo import INDEX, Entry, read_metafile

EXAMPLE = 'resnet20_se_digits'
"""the network in the README's examples"""


def list_network(metafile: Path, entry: Entry) -> None:
    """Add an entry to a metafile, in place of one of the same name.

    Raises:
        ValueError: The metafile is missing, or lists other results of the same file.
    """
    content = read_metafile(metafile)
    entries = {listed['Name']: listed for listed in content['Models']}
    listed = entries.get(entry['Name'], {})
    if listed.get('Weights') == entry['Weights'] and (
        listed['Results'] != entry['Results']
    ):
        raise EANError(
            f'{metafile} lists {listed["Results"]} for {entry["Weights"]} and the test '
            f'gave {entry["Results"]}; remove the entry to list the latter'
        )
    entry = {
        'Name': entry['Name'],
        'In Collection': content['Collections'][0]['Name'],
        **entry,
    }
    content['Models'] = list({**entries, entry['Name']: entry}.values())
    with atomic_write(metafile) as file:
        file.write(yaml.safe_dump(content, sort_keys=False, width=88).encode())


def root_of(metafile: Path) -> Path:
    """Return the folder that the paths in a metafile are relative to.

    Raises:
        ValueError: There is no index in a folder above the metafile.
    """
    for folder in metafile.resolve().parents:
        if (folder / INDEX.name).is_file():
            return folder
    raise EANError(f'there is no {INDEX.name} in a folder above {metafile}')


def zoo_readme(entries: List[Entry]) -> str:
    """Return the README of the zoo: its table, and how to use the networks."""
    template = jinja2.Template(
        Path(__file__).with_suffix('.md.jinja').read_text(),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    by_name = {entry['Name']: entry for entry in entries}
    return template.render(entries=entries, example=by_name.get(EXAMPLE, entries[-1]))
