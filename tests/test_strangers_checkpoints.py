"""Checkpoints from strangers: nothing in them is executed, however they come in."""

import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import CheckpointLoader, find_latest_checkpoint
from mmpretrain import ImageClassificationInferencer, get_model

from ean_mm import EANError, EANResNetCIFAR
from ean_mm.checkpoints import read_checkpoint, stored_meta, stored_weights
from ean_mm.launch import set_resume
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


def fails(result, *words):
    status, _ = result
    assert isinstance(status, str) and status.startswith('error: '), status
    assert status.isprintable() and len(status) < 600
    for word in words:
        assert word in status


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


# Pickles that name only what is allowed, and want more of it


def name(path):
    return f'c{path.rpartition(".")[0]}\n{path.rpartition(".")[2]}\n'.encode()


def text(value):
    return b'X' + len(value).to_bytes(4, 'little') + value.encode()


def number(value):
    return b'J' + value.to_bytes(4, 'little', signed=True)


def dtype(kind, *state):
    made = name('numpy.dtype') + b'(' + text(kind) + b'\x89\x88tR'
    return made + b'(' + b''.join(state) + b'tb' if state else made


BYTES = name('_codecs.encode') + b'(' + text('A' * 8) + text('latin1') + b'tR'
SCALAR = name('numpy._core.multiarray.scalar')
EMPTY = (name('numpy._core.multiarray._reconstruct') + b'(' + name('numpy.ndarray')
         + b'(' + number(0) + b't' + text('b') + b'tR')  # fmt: skip
BUFFER = name('mmengine.logging.history_buffer.HistoryBuffer')
NONE = b'NNN'


def load(pickled):
    """Load a checkpoint whose pickle is these bytes."""
    torch.save({}, 'empty.pth')
    with zipfile.ZipFile('empty.pth') as source, zipfile.ZipFile(BAD, 'w') as target:
        for entry in source.namelist():
            is_pickle = entry.endswith('data.pkl')
            target.writestr(
                entry, b'\x80\x02' + pickled + b'.' if is_pickle else source.read(entry)
            )
    return torch.load(BAD, weights_only=True)


def test_a_size_below_zero_does_not_corrupt_memory():
    state = [number(3), text('|'), NONE, number(-16), number(1), number(0)]
    assert load(SCALAR + b'(' + dtype('S8', *state) + BYTES + b'tR') == b'A' * 8


@pytest.mark.parametrize('shape', [[-1], [-1, -1], [2], [1 << 30, 1 << 30, 16]])
def test_an_array_has_the_size_of_its_content(shape):
    sizes = b'(' + b''.join(map(number, shape)) + b't'
    with pytest.raises(Exception, match='lacks a part'):
        load(EMPTY + b'(' + number(1) + sizes + dtype('f8') + b'\x89' + BYTES + b'tb')


@pytest.mark.parametrize('kind', ['O', 'V8', 'O,i8', 'M8[ns]', 'f8,f8', '(2,)O', 'c16'])
def test_arrays_hold_numbers_and_text_only(kind):
    with pytest.raises(Exception, match='may not hold arrays'):
        load(dtype(kind))


def test_no_shape_allocates_memory():
    huge = b'(' + b'\x8a\x06' + (1 << 40).to_bytes(6, 'little') + b't'
    assert load(name('numpy.ndarray') + b'(' + huge + text('b') + b'tR').size == 0


def test_no_attribute_can_be_looked_up():
    for attribute in ('_statistics_methods', '__init__', '__class__', 'mean'):
        look_up = name('builtins.getattr') + b'(' + BUFFER + text(attribute) + b'tR'
        assert load(look_up) is None


def test_the_statistics_of_the_process_stay_what_they_are():
    def buffer(**state):
        entries = b''.join(text(key) + value for key, value in state.items())
        return BUFFER + b')\x81}(' + entries + b'ub'

    poison = b'}' + text('mean') + text('poison') + b's'
    histories = dict(_log_history=EMPTY, _count_history=EMPTY, max_length=number(5))
    read = load(buffer(**histories, statistics_methods=poison))
    assert type(read) is HistoryBuffer and read.max_length == 5
    assert 'poison' not in HistoryBuffer._statistics_methods.values()


# Nothing to execute, and wrong


@pytest.fixture
def content(digits_config):
    """A checkpoint of the digits' network, before it is saved."""
    digits_config.model.backbone.mask = '110-010-001'
    digits_config.dump('digits.py')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(digits_config.model)
    masks = dict(backbone='110-010-001')
    return dict(state_dict=model.state_dict(), meta=dict(ean_mm=dict(masks=masks)))


def refused(tool, content, *words):
    """Both ways in which checkpoints are loaded refuse it by one line."""
    torch.save(content, BAD)
    fails(tool('test.py', 'digits.py', BAD, '--work-dir', 'work'), *words)
    deploy = ('model_converters/deploy.py', 'digits.py', BAD, 'out.pth')
    fails(tool(*deploy), *words)


@pytest.mark.parametrize(
    'notes',
    [
        5, [], 'x', dict(masks=5), dict(masks=['1']), dict(masks=dict(backbone=5)),
        dict(masks=dict(backbone='1' * 10**6)), dict(masks=dict(backbone='1\n;')),
        dict(masks=dict(backbone='/etc/passwd')), dict(masks=dict(backbone={})),
        dict(masks=dict(backbone=torch.ones(3))),
    ],
    ids=lambda notes: repr(notes)[:40],
)  # fmt: skip
def test_notes_that_no_hook_has_written_are_refused(notes):
    with pytest.raises(EANError, match='does not hold a mask for each module'):
        stored_meta(dict(meta=dict(ean_mm=notes)))


def test_wrong_notes_end_in_one_line(content, tool):
    content['meta'] = dict(ean_mm=dict(masks=[5]))
    refused(tool, content, "meta['ean_mm']")


def test_the_mask_of_another_network_ends_in_one_line(content, tool):
    content['meta']['ean_mm']['masks'] = dict(backbone='1' * 9_999)
    torch.save(content, BAD)
    result = tool('model_converters/deploy.py', 'digits.py', BAD, 'out.pth')
    fails(result, 'does not fit stages of 3-3-3')


@pytest.mark.parametrize('value', [5, 'x', None, [1.0], {'a': torch.ones(1)}], ids=repr)
def test_weights_that_are_no_tensors_are_refused(value):
    with pytest.raises(EANError, match="'a.weight' is a .* and no tensor"):
        stored_weights(dict(state_dict={'a.weight': value}))


def test_a_weight_that_is_no_tensor_ends_in_one_line(content, tool):
    content['state_dict']['backbone.conv1.weight'] = 5
    words = ["'backbone.conv1.weight' is a", 'no tensor']
    refused(tool, content, *words)
    convert = 'model_converters/{}_to_ean.py'
    fails(tool(convert.format('resnet'), BAD, 'out.pth'), *words)
    fails(tool(convert.format('authors'), BAD, 'out.pth', '--mask', 'all'), *words)


@pytest.mark.parametrize('nothing', [5, [], 'x', None, {5: 5}, dict(state_dict=5)])
def test_no_weights_at_all_are_refused(nothing):
    with pytest.raises(EANError, match='no dict of weights'):
        stored_weights(nothing)
    torch.save(nothing, BAD)
    with pytest.raises(EANError, match='no training run to resume'):
        set_resume(Config(dict(work_dir='.')), BAD)


def test_an_empty_checkpoint_ends_in_one_line(content, tool):
    refused(tool, dict(state_dict={}), 'checkpoint')


def test_a_tensor_that_is_large_only_in_name_is_not_copied(tool):
    """A few bytes may claim any shape; what is not of the network is left alone."""
    key = 'layer1.0.se_layer.conv1.conv.weight'
    huge = torch.zeros(1).expand(2, 10**6, 10**6, 10**3)
    weights = {'conv1.weight': torch.ones(1), key: huge}
    torch.save(dict(state_dict=weights), BAD)
    assert tool('model_converters/resnet_to_ean.py', BAD, 'out.pth')[0] == 0
    assert Path('out.pth').stat().st_size < 10_000


@pytest.mark.parametrize(
    'content', [b'\xff\0', b'[' * 10**5, b'!!python/object/apply:os.getcwd []', b'a: {']
)
def test_a_metafile_is_data_only(tmp_path, content):
    path = tmp_path / 'metafile.yml'
    path.write_bytes(content)
    with pytest.raises(EANError, match='metafile.yml cannot be read') as caught:
        read_metafile(path)
    assert str(caught.value).isprintable()
