"""Publishing a network of the zoo is strict, and lists what was measured."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from ean_mm import zoo

ROOT = Path(__file__).parents[1]
ENTRIES = {entry['Name']: entry for entry in zoo.zoo_entries(ROOT / 'model-index.yml')}
NAME = 'resnet20_se_digits'
CONFIG = ROOT / f'configs/ean/{NAME}.py'


def read(entry):
    return torch.load(ROOT / entry['Weights'], weights_only=True)


@pytest.fixture
def publish(tool, tmp_path):
    """Publish a checkpoint under a config; return the exit status and the output."""
    count = 0

    def run(content, *options, config=CONFIG):
        nonlocal count
        count += 1
        path = tmp_path / f'checkpoint_{count}.pth'
        torch.save(content, path)
        return tool('publish_model.py', config, path, 'out', '--dataset', 'digits',
                    *options)  # fmt: skip

    return run


def trained():
    """What a training run with channels-last weights has saved."""
    content = read(ENTRIES[NAME])
    content['state_dict'] = {
        key: value.to(memory_format=torch.channels_last) if value.dim() == 4 else value
        for key, value in content['state_dict'].items()
    }
    content['meta'].update(time='now', cfg='...')
    content['meta']['ean_mm'] = dict(masks=content['meta']['ean_mm']['masks'])
    return dict(content, optimizer=dict(state={}), message_hub={}, param_schedulers=[])


def test_publishing_gives_the_same_bytes_every_time(publish, tmp_path):
    accuracy = ENTRIES[NAME]['Results'][0]['Metrics']['Top 1 Accuracy']
    status, out = publish(trained(), '--accuracy', accuracy)
    assert status == 0, status
    (first,) = (tmp_path / 'out').iterdir()
    assert f'wrote out/{first.name}' in out
    content = torch.load(first, weights_only=True)
    assert content.keys() == {'state_dict', 'meta'}
    assert all(value.is_contiguous() for value in content['state_dict'].values())
    # what is published can be published again, in the same and in another process
    assert publish(content)[0] == 0
    assert publish(trained())[0] == 0
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', str(ROOT / 'tools/publish_model.py'),
         str(CONFIG), str(first), 'out', '--dataset', 'digits'],
        cwd=tmp_path, capture_output=True, text=True)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / 'out').iterdir()) == [first]


def change(**meta):
    content = trained()
    content['meta']['ean_mm'].update(meta)
    return content


def without(key):
    content = trained()
    del content['state_dict'][key]
    return content


def added():
    content = trained()
    content['state_dict']['backbone.more'] = torch.zeros(1)
    return content


def unmasked():
    content = trained()
    del content['meta']
    return content


@pytest.mark.parametrize(
    'content, options, message',
    [
        (lambda: change(supernet=True), [], 'holds a supernet'),
        (lambda: change(deployed=True), [], 'is deployed'),
        (lambda: change(masks=dict(backbone='111-010-000')), [],
         'with the mask 111-010-000 and the config sets 011-010-000'),
        (unmasked, [], 'does not say its mask'),
        (lambda: torch.zeros(1), [], 'holds no weights'),
        (lambda: without('head.fc.bias'), [], 'lacks 1 weights of the model'),
        (added, [], 'has 1 weights that the model lacks, the first being backbone.mo'),
        (trained, ['--accuracy', '99.99'], 'and not 99.99 %; nothing was written'),
        (trained, ['--metafile', 'none.yml'], 'there is no metafile none.yml'),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_publishing_refuses(publish, tmp_path, content, options, message):
    status, _ = publish(content(), *options)
    assert isinstance(status, str) and status.startswith('error: ')
    assert message in status and '\n' not in status
    assert not (tmp_path / 'out').exists()


def test_the_plain_networks_config_refuses_attention(publish, tmp_path):
    status, _ = publish(trained(), config=ROOT / 'configs/ean/resnet20_digits.py')
    assert 'with the mask 011-010-000 and the config sets none' in status
    assert not (tmp_path / 'out').exists()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with an index, a metafile without networks, and a config."""
    folder = tmp_path / 'checkout'
    (folder / 'configs').mkdir(parents=True)
    (folder / 'configs/net.py').write_text(f"_base_ = ['{CONFIG}']\n")
    (folder / 'model-index.yml').write_text('Import:\n- configs/metafile.yml\n')
    collection = dict(Name='Some', Metadata=dict(Architecture=['ResNet']))
    (folder / 'configs/metafile.yml').write_text(
        yaml.safe_dump(dict(Collections=[collection], Models=[]))
    )
    return folder


def test_what_is_measured_is_listed(tool, checkout, tmp_path):
    torch.save(trained(), tmp_path / 'trained.pth')
    metafile = checkout / 'configs/metafile.yml'
    arguments = ['publish_model.py', checkout / 'configs/net.py', 'trained.pth',
                 checkout / 'zoo', '--dataset', 'digits',
                 '--training-data', 'four fifths of digits']  # fmt: skip
    status, _ = tool(*arguments[:3], checkout, *arguments[4:], '--metafile', metafile)
    assert 'has the README of the project' in status
    assert tool(*arguments, '--metafile', metafile)[0] == 0
    content = yaml.safe_load(metafile.read_text())
    (listed,) = content['Models']
    known = ENTRIES[NAME]
    assert (listed['Name'], listed['Config']) == ('net', 'configs/net.py')
    assert listed['In Collection'] == content['Collections'][0]['Name'] == 'Some'
    assert listed['Results'] == known['Results']
    assert listed['Metadata']['Training Data'] == 'four fifths of digits'
    assert known['Metadata']['Training Data'] == 'digits'
    for key in ('Mask', 'Epochs', 'Parameters', 'FLOPs'):
        assert listed['Metadata'][key] == known['Metadata'][key]
    (path,) = checkout.glob('zoo/*.pth')
    assert listed['Weights'] == f'zoo/{path.name}'
    assert f'[{path.name}]({path.name})' in (checkout / 'zoo/README.md').read_text()

    # again: the same entry
    before = metafile.read_bytes()
    assert tool(*arguments, '--metafile', metafile)[0] == 0
    assert metafile.read_bytes() == before
    # other numbers for the same file are refused
    content['Models'][0]['Results'][0]['Metrics']['Top 1 Accuracy'] = 99.0
    metafile.write_text(yaml.safe_dump(content))
    status, _ = tool(*arguments, '--metafile', metafile)
    assert '99.0' in status and 'remove the entry' in status
    assert yaml.safe_load(metafile.read_text()) == content
    # other weights take its place, and the former file is named
    changed = trained()
    changed['meta']['seed'] = 1
    torch.save(changed, tmp_path / 'trained.pth')
    status, out = tool(*arguments, '--metafile', metafile)
    assert status == 0 and f'{path} is not listed any more' in out
    (listed,) = yaml.safe_load(metafile.read_text())['Models']
    assert listed['Weights'] != f'zoo/{path.name}' and path.exists()
    # a file outside of the metafile's folder cannot be listed
    arguments[3] = tmp_path / 'elsewhere'
    status, _ = tool(*arguments, '--metafile', metafile)
    assert 'elsewhere' in status and 'omit --metafile' in status
    assert not (tmp_path / 'elsewhere').exists()
