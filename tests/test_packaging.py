"""Configs and tools are found from outside of the checkout."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from importlib import import_module

import pytest
import yaml
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import DATASETS, METRICS, MODELS, init_default_scope
from packaging.requirements import Requirement

import ean_mm

TOOLBOX_EXTRAS = {
    *('classification', 'openmmlab', 'onedl', 'mmpretrain', 'mmdet', 'mmseg')
}

INHERIT = """
_base_ = 'ean_mm::ean/{name}.py'
model = dict(backbone=dict(mask='all'))
"""


def test_the_hub_finds_our_configs():
    cfg = get_config('ean_mm::ean/resnet50_se.py')
    assert cfg.model.backbone.mask == 'masks/resnet50_sge_imagenet.json'


def test_a_config_inherits_ours_from_anywhere(tmp_path, recwarn, capsys):
    path = tmp_path / 'own.py'
    path.write_text(INHERIT.format(name='resnet20_se_search_digits'))
    cfg = Config.fromfile(path)
    init_default_scope('mmpretrain')
    assert MODELS.build(cfg.model).backbone.mask.num_connections == 9
    assert len(DATASETS.build(cfg.val_dataloader.dataset)) == 300
    METRICS.build(cfg.val_evaluator)
    assert 'WARNING' not in capsys.readouterr().out


@pytest.mark.parametrize(
    'name',
    ['ean_det/retinanet_ean-r18_search_fpn_bccd', 'ean_seg/fcn_ean-r18-d8_camvid'],
)
def test_transfer_configs_inherit_too(tmp_path, name, capsys):
    path = tmp_path / 'own.py'
    path.write_text(INHERIT.replace('ean/', '').format(name=name))
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    assert MODELS.build(cfg.model).backbone.mask.num_connections == 8
    METRICS.build(cfg.val_evaluator)
    assert 'WARNING' not in capsys.readouterr().out


def test_the_index_names_what_is_there(root):
    index = yaml.safe_load((root / 'model-index.yml').read_text())
    for path in index['Import']:
        metafile = yaml.safe_load((root / path).read_text())
        collections = {collection['Name'] for collection in metafile['Collections']}
        for model in metafile['Models']:
            assert (root / model['Config']).is_file()
            assert model['In Collection'] in collections


@pytest.mark.slow
def test_the_wheel_works_from_another_folder(root, tmp_path):
    source, target = tmp_path / 'source', tmp_path / 'target'
    files = subprocess.run(
        ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
        cwd=root, capture_output=True, check=True, text=True)  # fmt: skip
    for name in files.stdout.split('\0')[:-1]:
        if (root / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, source / name, follow_symlinks=False)
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps',
         '--no-build-isolation', '-w', str(tmp_path), str(source)],
        check=True)  # fmt: skip
    (wheel,) = tmp_path.glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
        names = set(archive.namelist())
    assert not [name for name in names if name.endswith(('.pyc', '.pth'))]
    assert 'ean_mm/py.typed' in names
    assert 'ean_mm/visualization/report/page.html.jinja' in names
    own = 'ean_mm/.mim/tools/experiments/'  # the repository's, of no use without it
    assert not [name for name in names if name.startswith(own)]
    for folder in ('configs', 'tools'):
        tracked = {f'ean_mm/.mim/{name}' for name in files.stdout.split('\0')
                   if name.startswith(f'{folder}/')}  # fmt: skip
        tracked = {name for name in tracked if not name.startswith(own)}
        assert tracked and tracked <= names
    program = (
        'import ean_mm\n'
        'from mmengine.hub import get_config\n'
        'from mmengine.registry import MODELS\n'
        f'assert ean_mm.__file__.startswith({str(target)!r}), ean_mm.__file__\n'
        "cfg = get_config('ean_mm::ean/resnet50_se.py')\n"
        f'assert cfg.filename.startswith({str(target)!r}), cfg.filename\n'
        'print(MODELS.build(cfg.model.backbone).mask)\n'
    )
    shutil.rmtree(source)
    (tmp_path / 'elsewhere').mkdir()
    environment = dict(os.environ, PYTHONPATH=str(target))
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', program], cwd=tmp_path / 'elsewhere',
        env=environment, capture_output=True, text=True)  # fmt: skip
    assert result.stdout.endswith('100-1011-010011-011\n'), result.stderr
    (tmp_path / 'elsewhere/own.py').write_text(
        INHERIT.format(name='resnet20_se_digits') + "train_cfg = dict(max_epochs=1)\n"
        "default_hooks = dict(checkpoint=dict(interval=1))\n")  # fmt: skip
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', str(target / 'ean_mm/.mim/tools/train.py'),
         'own.py'],
        cwd=tmp_path / 'elsewhere', env=environment, capture_output=True,
        text=True)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert (tmp_path / 'elsewhere/work_dirs/own/epoch_1.pth').is_file()
    for name in ('a', 'b'):
        (tmp_path / f'elsewhere/images/{name}').mkdir(parents=True)
        for number in range(5):
            shutil.copy(root / 'docs/images/cam.png',
                        tmp_path / f'elsewhere/images/{name}/{number}.png')  # fmt: skip
    for arguments, words in (
        (['demo', '--cfg-options', 'custom_hooks.1.evaluation.budget=15',
          'custom_hooks.1.searcher.num_steps=2'], 'Recommended: attention'),
        (['new', '--data', 'images'], str(target / 'ean_mm/.mim/tools/train.py')),
    ):  # fmt: skip
        result = subprocess.run(
            [sys.executable, '-m', 'ean_mm', *arguments], cwd=tmp_path / 'elsewhere',
            env=environment, capture_output=True, text=True)  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert words in result.stdout


@pytest.fixture(scope='session')
def setup_arguments(root):
    """What setup.py hands to setuptools."""
    with pytest.MonkeyPatch.context() as patch:
        arguments = {}
        patch.setattr('setuptools.setup', lambda **kwargs: arguments.update(kwargs))
        runpy.run_path(str(root / 'setup.py'))
    return arguments


def test_installing_replaces_no_toolbox(setup_arguments):
    for requirement in map(Requirement, setup_arguments['install_requires']):
        assert requirement.name in {'numpy', 'rich', 'scikit-learn'}
        assert not requirement.specifier


def test_only_extras_with_its_name_bring_a_toolbox(setup_arguments):
    for name, lines in setup_arguments['extras_require'].items():
        brings = {Requirement(line).name for line in lines}
        toolboxes = {each for each in brings if re.match('onedl-|mm|torch', each)}
        assert bool(toolboxes) == (name in TOOLBOX_EXTRAS), name
        assert all(each.startswith('onedl-') == (name == 'onedl') for each in toolboxes)


def test_the_extras(setup_arguments):
    promised = {'openmmlab', 'onedl', 'search', 'deploy', 'report', 'dev'}
    assert promised <= set(setup_arguments['extras_require'])


def test_the_console_script_is_there(setup_arguments):
    (script,) = setup_arguments['entry_points']['console_scripts']
    name, _, place = script.partition('=')
    module, _, function = place.partition(':')
    assert name == 'ean-mm' and callable(getattr(import_module(module), function))


def test_the_citation_and_the_changelog_name_the_version(root):
    citation = yaml.safe_load((root / 'CITATION.cff').read_text())
    assert citation['version'] == ean_mm.__version__
    released = f'## [{ean_mm.__version__}] - {citation["date-released"]}\n'
    assert released in (root / 'CHANGELOG.md').read_text()
