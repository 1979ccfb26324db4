"""The zoo's metafiles, checkpoints, configs and masks agree; publishing is strict."""

import hashlib
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope

from ean_mm import EANError, zoo
from ean_mm.checkpoints import load_trained
from ean_mm.models import masked_modules
from zoo_page import zoo_readme

ROOT = Path(__file__).parents[1]
ENTRIES = {entry['Name']: entry for entry in zoo.zoo_entries(ROOT / 'model-index.yml')}
NAME = 'resnet20_se_digits'
CONFIG = ROOT / f'configs/ean/{NAME}.py'


def read(entry):
    return torch.load(ROOT / entry['Weights'], weights_only=True)


@pytest.fixture(params=ENTRIES)
def entry(request):
    return ENTRIES[request.param]


def test_a_file_is_small_and_named_by_its_hash(entry):
    path = ROOT / entry['Weights']
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry['Metadata']['SHA256'] == digest
    assert path.name == f'{entry["Name"]}-{digest[:8]}.pth'
    assert path.stat().st_size < 2e6


def test_a_file_holds_fp32_weights_and_what_they_are(entry):
    # in a process that does not know ean_mm, which allows more than PyTorch does
    program = (
        'import sys, torch\n'
        'content = torch.load(sys.argv[1], weights_only=True)\n'
        "print(*sorted(content), *sorted(content['meta']))\n"
        "print(*{str(v.dtype) for v in content['state_dict'].values()}"
        " - {'torch.int64'})\n"
    )
    path = str(ROOT / entry['Weights'])
    result = subprocess.run(
        [sys.executable, '-c', program, path], capture_output=True, text=True
    )
    assert result.stdout.splitlines() == [
        'meta state_dict config dataset dataset_meta ean_mm epoch seed',
        'torch.float32',
    ], result.stderr


def test_a_config_builds_the_network_of_the_file(entry):
    path = ROOT / entry['Config']
    assert path.stem == entry['Name']
    content, cfg = read(entry), Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    modules = masked_modules(model)
    built = {name: str(module.mask) for name, module in modules.items()}
    meta = content['meta']
    assert meta['config'] == path.name
    assert entry['Metadata']['Epochs'] == meta['epoch'] == cfg.train_cfg.max_epochs
    assert meta['ean_mm']['masks'] == built
    assert entry['Metadata']['Mask'] == (', '.join(built.values()) or 'none')
    for name, module in modules.items():
        stored = meta['ean_mm']['modules'][name]
        assert stored['attention'] == module.attention
        assert stored['stage_blocks'] == list(module.stage_blocks)
    load_trained(model, content)
    assert content['state_dict'].keys() == model.state_dict().keys()


def test_all_that_is_there_is_listed():
    files = {path.name for path in (ROOT / 'model_zoo').iterdir()}
    listed = {Path(entry['Weights']).name for entry in ENTRIES.values()}
    assert files == {'README.md', *listed}
    # and there is a test below that measures it again
    assert all(name.endswith(('digits', 'cifar10-10k')) for name in ENTRIES)


def test_the_readme_is_of_the_metafiles():
    text = (ROOT / 'model_zoo/README.md').read_text()
    assert text == zoo_readme(list(ENTRIES.values()))


@pytest.fixture(scope='session')
def cifar10(shared_data, tmp_path_factory):
    """A folder with the test images."""
    folder = tmp_path_factory.mktemp('data')
    with tarfile.open(shared_data / 'cifar10.tar.gz') as archive:
        for member in archive:
            if member.name.split('/')[1:2] == ['test']:
                archive.extract(member, folder, filter='data')
    return folder / 'cifar10'


def measure(entry, tmp_path, *options):
    """Test a network in a process of its own; return the accuracy in percent."""
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', str(ROOT / 'tools/test.py'),
         str(ROOT / entry['Config']), str(ROOT / entry['Weights']),
         '--work-dir', str(tmp_path), *options],
        capture_output=True, text=True)  # fmt: skip
    assert result.returncode == 0, result.stderr
    return float(re.search(r'accuracy/top1: ([\d.]+)', result.stdout)[1])


def of(dataset):
    names = [name for name in ENTRIES if name.endswith(dataset)]
    return pytest.mark.parametrize('name', names)


@pytest.mark.slow
@of('digits')
def test_the_digits_accuracy_is_what_is_listed(name, tmp_path):
    listed = ENTRIES[name]['Results'][0]['Metrics']['Top 1 Accuracy']
    assert round(measure(ENTRIES[name], tmp_path), 2) == listed


@pytest.mark.slow
@of('cifar10-10k')
def test_the_cifar_accuracy_is_what_is_listed(name, tmp_path, cifar10):
    listed = ENTRIES[name]['Results'][0]['Metrics']['Top 1 Accuracy']
    measured = measure(ENTRIES[name], tmp_path, '--data-root', str(cifar10))
    # another CPU rounds in other ways, which may decide a few of 10,000 images
    assert measured == pytest.approx(listed, abs=0.05)


def blocks_of(text):
    """The Python code in a Markdown text."""
    return re.findall(r'```python\n(.*?)```', text, re.S)


def test_the_readmes_code_reads_a_picture_of_a_digit(tmp_path):
    cfg = Config.fromfile(CONFIG)
    init_default_scope(cfg.default_scope)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    sample = dataset.get_data_info(0)
    path = tmp_path / 'image.png'
    # the digits are white on black; eight times their size, as a picture would be
    image = cv2.resize(sample['img'], (64, 64), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(path), image)
    text = (ROOT / 'model_zoo/README.md').read_text()
    by_path, by_name = blocks_of(text)
    ours = (ROOT / 'README.md').read_text()
    assert by_path.split() in [block.split() for block in blocks_of(ours)]
    by_path = by_path.replace('image.png', str(path))
    again = f"classify({str(path)!r})[0]['pred_class']"
    program = (
        f'{by_path}\nfirst = {again}\n{by_name}\nsecond = {again}\n'
        "print('\\nresult', first, second, list_models('resnet20_*'))"
    )
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', program],
        cwd=ROOT, capture_output=True, text=True)  # fmt: skip
    assert result.returncode == 0, result.stderr
    label = sample['gt_label']
    names = sorted(name for name in ENTRIES if name.startswith('resnet20_'))
    last = result.stdout.splitlines()[-1]
    assert last == f'result {label} {label} {names}'


def test_the_zoo_finds_networks_by_their_names():
    config, checkpoint = zoo.find_network(NAME)
    assert Path(config) == CONFIG
    assert Path(checkpoint) == ROOT / ENTRIES[NAME]['Weights']
    with pytest.raises(EANError, match=f"no 'resnet21' .* it has .*{NAME}"):
        zoo.find_network('resnet21')


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
