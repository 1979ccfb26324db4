"""Checkpoints from strangers that execute nothing, and ask for what nobody has."""

import zipfile
from pathlib import Path

import pytest
import torch
from failing import fails
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.registry import MODELS, DefaultScope

from ean_mm import EANError
from ean_mm.checkpoints import stored_meta, stored_weights
from ean_mm.launch import set_resume

BAD = 'bad.pth'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder where a file tells what was executed; and a user who allows too much."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    yield
    assert not Path('executed').exists()


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


# Notes and weights that are wrong


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
