"""What ``--cfg-options`` means: mmengine's lists and numbers, and paths as they are."""

import argparse
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import DictAction

from ean_mm.launch import OptionAction


def parse(*options, action=OptionAction):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=action)
    return parser.parse_args(['--cfg-options', *options]).cfg_options


@pytest.mark.parametrize(
    'option',
    ['a=1', 'a=1e-3', 'a=True', 'a=None', 'a=b', 'a=x=y', 'a=1,2', 'a=1, 2', 'a=[x, y]',
     'a="[x,y]"', 'a=(3, 4)', 'a=[(1, 2), [a, b], c]', "a='b'", 'a=', 'mask=4,11,19,3',
     'mask=[4, 11]', 'load_from=None', 'a=x/1,y/2'],
)  # fmt: skip
def test_what_is_no_path_is_read_as_mmengine_reads_it(option):
    assert parse(option) == parse(option, action=DictAction)


@pytest.mark.parametrize(
    'key, value',
    [
        ('model.backbone.mask', 'my runs, first/mask.json'),
        ('model.backbone.mask', 'a,b.json'),
        ('load_from', 'work dirs/a (1)/epoch_1.pth'),
        ('work_dir', 'out/lr=0.1,wd=0'),
        ('data.train_dataloader.dataset.data_root', '/data/a,b'),
        ('visualizer.name', 'two words'),
        ('model.backbone.mask', '1001 0110'),
        ('a', 'unbalanced (bracket'),
    ],
)
def test_text_stays_as_it_is(key, value):
    assert parse(f'{key}={value}') == {key: value}


def test_what_exists_or_is_in_quotes_is_one_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse('a=one,two') == dict(a=['one', 'two'])
    assert parse('a="one, two"') == dict(a='one, two')
    Path('one,two').mkdir()
    assert parse('a=one,two') == dict(a='one,two')


def test_an_option_without_a_value_is_one_line(capsys):
    with pytest.raises(SystemExit):
        parse('model.depth')
    assert "'model.depth' is no KEY=VALUE" in capsys.readouterr().err


def test_masks_and_weights_in_odd_places_are_found(tool, root, tmp_path):
    folder = tmp_path / 'my runs, (new)'
    folder.mkdir()
    shutil.copy(root / 'ean_mm/masks/resnet20_se_digits.json', folder / 'a mask.json')
    shutil.copy(root / 'model_zoo/resnet20_se_digits-63329467.pth', folder / 'a b.pth')
    status, _ = tool(
        'train.py', root / 'configs/ean/resnet20_se_digits.py', '--no-validate',
        '--work-dir', 'out', '--cfg-options', 'train_cfg.max_epochs=1',
        'optim_wrapper.optimizer.lr=0.0', 'log_level=WARNING',
        f'model.backbone.mask={folder}/a mask.json',
        f'load_from={folder}/a b.pth')  # fmt: skip
    assert status == 0
    trained = torch.load(tmp_path / 'out/epoch_1.pth', weights_only=True)
    loaded = torch.load(folder / 'a b.pth', weights_only=True)
    key = 'head.fc.weight'
    assert torch.equal(trained['state_dict'][key], loaded['state_dict'][key])
    assert trained['meta']['ean_mm']['masks'] == loaded['meta']['ean_mm']['masks']
