"""The command line has one line for every mistake."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from failing import fails
from mmengine.registry import MODELS
from torch import nn


@MODELS.register_module()
class Cropping(nn.Module):
    """An attention that changes the shape."""

    def forward(self, x):
        return x[:, :, 1:]


@pytest.fixture
def config(root):
    return lambda name: root / 'configs/ean' / f'{name}.py'


@pytest.mark.parametrize(
    'name, options, message',
    [
        ('resnet20_se_digits', ['--auto-scale-lr'], 'needs a batch size that the'),
        ('resnet20_se_search_digits', ['custom_hooks.2.searcher.type=RandomSearcher'],
         "unexpected keyword argument 'preset'; an option"),
        ('resnet20_se_search_digits', ['custom_hooks.2.searcher.type=Searcher'],
         'the searcher cannot be built: Searcher is not in'),
        ('resnet20_se_search_digits', ['custom_hooks.2.reward.metrics=mIoU'],
         "the reward cannot be built: Reward.__init__() got an unexpected keyword"),
        ('resnet50_se', [], 'there is no data/imagenet; put it there or name'),
        ('resnet50_se_search', [], 'there is no data/imagenet; put it there or name'),
        ('resnet20_se_search_cifar10', [], 'there is no data/cifar10; put it there'),
        ('resnet20_se_digits', ['model.backbone.mask=100-1011-010011-011'],
         'does not fit stages of 3-3-3 blocks'),
        ('resnet20_se_digits', ['model.backbone.mask=110010001'], 'with dashes'),
        ('resnet20_se_digits', ['model.backbone.mask=masks/resnet50_dia_imagenet.json'],
         'was made for EANResNet-50'),
        ('resnet20_se_digits', ['model.backbone.mask=nowhere.json'], 'no mask file'),
        ('resnet20_se_digits', ['model.backbone.attention.type=XAttention'],
         "'XAttention' is not registered"),
        ('resnet20_se_digits', ['model.backbone.attention.type=Cropping',
                                'model.backbone.attention.ratio=None'],
         'cannot be built'),
        ('resnet20_se_digits', ['model.backbone.depth=21'], 'depth=21 is unknown'),
        ('resnet20_se_digits', ['load_from=nowhere.pth'], 'no checkpoint nowhere.pth'),
        ('resnet20_se_digits', ['load_from=torn.pth'], 'torn.pth is damaged'),
        ('resnet20_se_digits', ['load_from=malicious.pth'], 'malicious.pth is damaged'),
        ('resnet20_se_digits', ['load_from=foreign.pth'], 'holds no weights of this'),
        ('resnet20_se_digits', ['--resume', 'foreign.pth'], 'no training run to resu'),
        ('resnet20_se_digits', ['--resume', 'nowhere.pth'], 'no checkpoint nowhere.p'),
        ('resnet20_se_digits', ['--launcher', 'slurm'], 'slurm needs GPUs'),
        ('nothing', [], 'there is no config file'),
    ],
    ids=lambda value: ' '.join(value)[-40:] if isinstance(value, list) else None,
)  # fmt: skip
def test_mistakes_end_in_one_line(tool, config, tmp_path, name, options, message):
    class Touch:
        def __reduce__(self):
            return Path.touch, (tmp_path / 'executed',)

    torch.save(
        dict(state_dict={'conv.weight': torch.ones(1)}), tmp_path / 'foreign.pth'
    )
    torch.save(dict(state_dict=Touch()), tmp_path / 'malicious.pth')
    (tmp_path / 'torn.pth').write_bytes((tmp_path / 'foreign.pth').read_bytes()[:300])
    if options and not options[0].startswith('--'):
        options = ['--cfg-options', *options]
    fails(tool('train.py', config(name), *options), message)
    assert not (tmp_path / 'executed').exists()


def test_attention_that_changes_the_shape_ends_in_one_line(tool, config, tmp_path):
    own = tmp_path / 'own.py'
    own.write_text(
        f"_base_ = ['{config('resnet20_se_digits')}']\n"
        "model = dict(backbone=dict(mask='all', attention=dict(\n"
        "    _delete_=True, type='Cropping')))\n"
    )
    fails(tool('train.py', own), 'Cropping maps (64, 16, 8, 8) to (64, 16, 7, 8)')


def test_a_damaged_mask_file_is_named(tool, config, tmp_path):
    (tmp_path / 'bad.json').write_text('{"mask": "11", "stage_blocks": [3]}')
    options = ['--cfg-options', 'model.backbone.mask=bad.json']
    result = tool('train.py', config('resnet20_se_digits'), *options)
    fails(result, 'bad.json is not a valid mask file')


def test_an_empty_data_folder_is_one_line(tool, config, tmp_path):
    for split in ('train', 'test'):
        (tmp_path / 'data/cifar10' / split / 'cat').mkdir(parents=True)
    fails(tool('train.py', config('resnet20_se_search_cifar10')), 'is not there')


def test_a_config_with_a_mistake_is_one_line(tool, tmp_path):
    own = tmp_path / 'own.py'
    for text in ("_base_ = 'x.py'", 'a = b', 'a = ', "a = {}['b']"):
        own.write_text(text)
        fails(tool('train.py', own), 'own.py cannot be read')


def test_the_exit_status_is_not_zero(root):
    run = subprocess.run(
        [sys.executable, root / 'tools/train.py', 'nothing.py'],
        capture_output=True, text=True)  # fmt: skip
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith('error: there is no config file')
    assert 'Traceback' not in run.stderr
