"""The zoo's metafiles, checkpoints, configs and masks agree."""

import hashlib
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import pytest
import torch
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
