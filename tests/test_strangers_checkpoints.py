"""Checkpoints from strangers: nothing in them is executed, however they come in."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from failing import fails
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, find_latest_checkpoint
from mmpretrain import ImageClassificationInferencer, get_model

from ean_mm import EANError, EANResNetCIFAR
from ean_mm.checkpoints import read_checkpoint
from ean_mm.search import SearchStorage
from ean_mm.zoo import read_metafile

DIGITS = 'resnet20_se_digits'
MASK = 'model.backbone.mask=110-010-001'
BAD = 'bad.pth'


class Touch:
    """Pickles to a call that makes a file."""

    def __reduce__(self):
        return Path.touch, (Path('executed'),)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder where a file tells what was executed; and a user who allows too much."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    yield
    assert not Path('executed').exists()


@pytest.fixture(params=['weights', 'notes', 'legacy', 'pickle'])
def bad(request):
    """A checkpoint that would make a file, if anything in it was executed."""
    content = dict(state_dict={'fc.weight': torch.ones(1)}, optimizer={}, meta=Touch())
    if request.param == 'weights':
        content = dict(state_dict=Touch())
    if request.param == 'pickle':
        Path(BAD).write_bytes(pickle.dumps(content))
    else:
        torch.save(
            content, BAD, _use_new_zipfile_serialization=request.param != 'legacy'
        )


@pytest.fixture
def weights():
    torch.save(dict(state_dict=dict(a=Touch())), BAD)


def config(root, name=DIGITS):
    return root / f'configs/ean/{name}.py'


def test_reading_it_is_refused(bad):
    with pytest.raises(EANError, match='bad.pth is damaged, or holds more') as caught:
        read_checkpoint(BAD)
    assert str(caught.value).isprintable()
    assert 'weights_only=False' not in str(caught.value)


@pytest.mark.parametrize(
    'name, arguments',
    [
        ('train.py', ['--cfg-options', MASK, f'load_from={BAD}']),
        ('train.py', ['--resume', BAD, '--cfg-options', MASK]),
        ('train.py', ['--resume', '--work-dir', '.', '--cfg-options', MASK]),
        ('train.py', ['--cfg-options', MASK, f'model.backbone.pretrained={BAD}']),
        ('train.py', ['--cfg-options', MASK, 'model.init_cfg.type=Pretrained',
                      f'model.init_cfg.checkpoint={BAD}']),
        ('test.py', [BAD, '--cfg-options', MASK]),
        ('model_converters/deploy.py', [BAD, 'out.pth', '--cfg-options', MASK]),
        ('publish_model.py', [BAD, 'zoo', '--dataset', 'digits']),
        ('visualization/vis_cam.py', [BAD, '--num', '1']),
        ('model_converters/authors_to_ean.py', [BAD, 'out.pth', '--mask', 'all']),
        ('model_converters/resnet_to_ean.py', [BAD, 'out.pth']),
    ],
    ids=['load_from', 'resume', 'resume auto', 'pretrained', 'init_cfg', 'test',
         'deploy', 'publish', 'vis_cam', 'authors_to_ean', 'resnet_to_ean'],
)  # fmt: skip
def test_every_tool_refuses_it_by_one_line(tool, root, weights, name, arguments):
    Path('last_checkpoint').write_text(BAD)
    first = [] if '_to_ean' in name else [config(root)]
    if 'vis_cam' in name:
        first = ['out.png', *first]
    fails(tool(name, *first, *arguments), BAD, 'was not executed')


@pytest.mark.parametrize(
    'load',
    [
        lambda cfg, build: EANResNetCIFAR(20, pretrained=BAD).init_weights(),
        lambda cfg, build: get_model(cfg, pretrained=BAD),
        lambda cfg, build: ImageClassificationInferencer(cfg, pretrained=BAD),
        lambda cfg, build: build(cfg).load_checkpoint(BAD),
        lambda cfg, build: build(cfg).resume(BAD),
    ],
    ids=['pretrained', 'get_model', 'inferencer', 'load_checkpoint', 'resume'],
)
def test_every_way_in_python_refuses_it(digits_config, build_runner, weights, load):
    with pytest.raises(EANError, match='bad.pth is damaged.*was not executed'):
        load(digits_config, build_runner)


def test_a_download_is_refused(digits_config, monkeypatch, tmp_path, weights):
    """PyTorch's own function for URLs executes what comes, by default."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    cache = tmp_path / 'hub/checkpoints'
    cache.mkdir(parents=True)
    Path(BAD).rename(cache / BAD)  # as if it had been downloaded
    model = EANResNetCIFAR(20, pretrained=f'https://example.org/{BAD}')
    with pytest.raises(EANError, match='example.org/bad.pth is damaged.*not executed'):
        model.init_weights()


def test_a_search_state_is_refused(weights, tmp_path):
    Path(BAD).rename('state.pth')
    with pytest.raises(EANError, match='not a readable search state'):
        SearchStorage(tmp_path).load({})


def test_the_sources_open_nothing_that_executes(root):
    """Where a file is read, nothing in it may be run."""
    suspicious = re.compile(
        r'weights_only=False|\beval\((?!\))|\bexec\(|allow_pickle|unsafe_load'
        r'|yaml\.load\b|\b(?:pickle|dill|joblib|shelve|marshal)\.\w+\('
        r'|Config\.fromstring'
        r'|os\.system|shell=True|torch\.load\((?![^#]*weights_only=True)'
    )
    found = [
        f'{path.relative_to(root)}:{number}: {line.strip()}'
        for folder in ('ean_mm', 'tools')
        for path in (root / folder).rglob('*.py')
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if suspicious.search(line)
    ]
    assert not found


@pytest.fixture
def trained(digits_config, build_runner):
    """The checkpoint of a run, and its path."""
    digits_config.custom_hooks = [dict(type='MaskHook')]
    digits_config.val_cfg = digits_config.val_dataloader = None
    digits_config.val_evaluator = None
    build_runner(digits_config).train()
    path = find_latest_checkpoint(digits_config.work_dir)
    return torch.load(path, weights_only=True), path


def test_a_config_in_a_checkpoint_is_not_run_on_resuming(
    trained, digits_config, build_runner
):
    """mmengine runs meta['config'] as Python, to look up the GPUs in it."""
    content, path = trained
    content['meta']['config'] = "import pathlib\npathlib.Path('executed').touch()"
    torch.save(content, path)
    digits_config.resume, digits_config.load_from = True, path
    digits_config.train_cfg.max_epochs = 2
    runner = build_runner(digits_config)
    runner.train()
    assert runner.epoch == 2


def test_a_config_in_a_checkpoint_is_dropped_whatever_scheme_it_comes_by(monkeypatch):
    schemes = CheckpointLoader._schemes
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(schemes))

    def load_from_elsewhere(filename, map_location):
        return dict(meta=dict(config='raise', seed=3), state_dict={})

    CheckpointLoader.register_scheme('elsewhere://', load_from_elsewhere)
    content = CheckpointLoader.load_checkpoint('elsewhere://epoch_1.pth')
    assert content == dict(meta=dict(seed=3), state_dict={})


def test_the_log_names_the_backend_of_a_local_checkpoint(trained, capsys):
    CheckpointLoader.load_checkpoint(trained[1], logger=None)
    assert 'Loads checkpoint by local backend' in capsys.readouterr().out


def test_what_mmengine_saves_is_read_as_it_was(trained, digits_config):
    scalars = trained[0]['message_hub']['log_scalars']
    buffer = scalars['train/loss']
    assert type(buffer) is HistoryBuffer
    assert len(buffer.data[0]) == 22 and buffer.data[0].dtype == float
    assert buffer.mean() == pytest.approx(buffer.data[0].mean())
    assert pickle.loads(pickle.dumps(buffer)).current() == buffer.current()


@pytest.mark.parametrize(
    'value',
    [np.float64(0.1), np.int64(3), np.bool_(True), np.str_('ab'), np.arange(6.0),
     np.arange(6).reshape(2, 3).T, np.array(['a', 'bc']), np.array(True)],
    ids=repr,
)  # fmt: skip
def test_numbers_of_numpy_are_read_as_they_were(value):
    torch.save(value, 'value.pth')
    for _ in range(2):  # what was read can be saved, too
        read = torch.load('value.pth', weights_only=True)
        assert np.array_equal(read, value) and np.shape(read) == np.shape(value)
        assert read.dtype == value.dtype
        torch.save(read, 'value.pth')


@pytest.mark.parametrize(
    'content', [b'\xff\0', b'[' * 10**5, b'!!python/object/apply:os.getcwd []', b'a: {']
)
def test_a_metafile_is_data_only(tmp_path, content):
    path = tmp_path / 'metafile.yml'
    path.write_bytes(content)
    with pytest.raises(EANError, match='metafile.yml cannot be read') as caught:
        read_metafile(path)
    assert str(caught.value).isprintable()
