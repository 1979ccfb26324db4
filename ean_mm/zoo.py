"""The model zoo: what the metafiles of the configs list.

``model-index.yml`` and the metafiles have OpenMMLab's format, which mim, mmengine's hub
and mmpretrain's ``ModelHub`` read. Paths in them are relative to the index.
"""

from pathlib import Path
from typing import Any, Dict, List, Tuple

import yaml

from ean_mm.errors import EANError, one_line
from ean_mm.fileio import atomic_write

# in a checkout a link to the one at its root
INDEX = (Path(__file__).parent / '.mim' / 'model-index.yml').resolve()

EXAMPLE = 'resnet20_se_digits'
"""the network in the README's examples"""

Entry = Dict[str, Any]

README = """\
# Model zoo

Trained networks, weights in fp32. `tools/publish_model.py` made them, measured what is
in the table, and wrote this page. A file's name ends in the first 8 digits of its
SHA-256.

{table}

One training of each, with one seed: a difference of a few test images says nothing.
Parameters are those in use: the file also has the attention that no bit plugs in. FLOPs
are the multiply-adds that mmengine counts for an image; pooling and scaling count
nothing there.

To classify an image, from the root of the checkout:

```python
from mmpretrain import ImageClassificationInferencer

classify = ImageClassificationInferencer(
    '{Config}', pretrained='{Weights}')
print(classify('image.png')[0]['pred_class'])
```

The networks of the digits read a white digit on black, those of CIFAR-10 any picture of
one of its ten kinds of things, at 32 by 32 pixels. Once mmpretrain knows the index,
names do:

```python
from mmpretrain import ImageClassificationInferencer, get_model, list_models
from mmpretrain.apis import ModelHub

ModelHub.register_model_index('model-index.yml', config_prefix='.')
print(list_models('resnet20_*'))
model = get_model('{Name}', pretrained=True)
classify = ImageClassificationInferencer('{Name}')
```

`tools/visualization/vis_cam.py` draws where networks look, by Grad-CAM of a layer, here
of the second stage:

![Three digits, and heat maps of three networks over them](../docs/images/cam.png)
"""


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
    lines = [
        '| network | mask | trained on | epochs | accuracy % | parameters | FLOPs '
        '| file |',
        '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ]
    for entry in entries:
        meta, (result,) = entry['Metadata'], entry['Results']
        weights = Path(entry['Weights']).name
        lines.append(
            f'| [{entry["Name"]}](../{entry["Config"]}) | `{meta["Mask"]}` '
            f'| {meta["Training Data"]} | {meta["Epochs"]} '
            f'| {result["Metrics"]["Top 1 Accuracy"]:.2f} | {meta["Parameters"]:,} '
            f'| {meta["FLOPs"]:,} | [{weights}]({weights}) |'
        )
    names = [entry['Name'] for entry in entries]
    example = entries[names.index(EXAMPLE) if EXAMPLE in names else -1]
    return README.format(table='\n'.join(lines), **example)
