"""mmcv without its compiled operators, as the demo's environment has it."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import mmcv
import pytest
from failing import fails

LINE = 'mmcv has no operators here'
needs_lite = pytest.mark.skipif(
    not list(distributions(name='mmcv')), reason='onedl-mmcv has no lite package'
)


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
    """An environment in which the mmcv that is found first has no operators."""
    folder = tmp_path_factory.mktemp('lite')
    ignored = shutil.ignore_patterns('_ext*', '__pycache__')
    shutil.copytree(Path(mmcv.__file__).parent, folder / 'mmcv', ignore=ignored)
    path = os.pathsep.join([str(folder), os.environ.get('PYTHONPATH', '')])
    return dict(os.environ, PYTHONPATH=path)


@pytest.fixture
def python(root, environment, tmp_path):
    """Run Python from another folder; return its exit status and its errors."""

    def run(*arguments):
        result = subprocess.run(
            [sys.executable, '-W', 'ignore', *map(str, arguments)], cwd=tmp_path,
            env=environment, capture_output=True, text=True)  # fmt: skip
        return result.returncode, result.stderr

    return run


def test_a_classifier_trains_without_operators(root, python, tmp_path):
    assert python(
        root / 'tools/train.py', root / 'configs/ean/resnet20_se_digits.py',
        '--work-dir', 'work', '--cfg-options', 'train_cfg.max_epochs=1',
        'default_hooks.checkpoint.interval=1')[0] == 0  # fmt: skip
    assert (tmp_path / 'work/epoch_1.pth').exists()


@needs_lite
def test_a_detector_says_how_to_get_operators(root, python):
    config = root / 'configs/ean_det/retinanet_r18_fpn_bccd.py'
    status, errors = python(root / 'tools/train.py', config)
    assert status == 1 and errors.count('\n') == 1, errors
    assert LINE in errors and 'run make install, which' in errors


@needs_lite
@pytest.mark.parametrize('lazy', [False, True])
def test_an_operator_that_a_config_names_says_how_to_get_it(
    root, python, tmp_path, lazy
):
    (tmp_path / 'align.py').write_text(
        'from mmengine.registry import MODELS\n'
        '@MODELS.register_module()\n'
        'def Align(**kwargs):\n'
        '    from mmcv.ops import RoIAlign\n'
        if lazy
        else 'from mmcv.ops import RoIAlign\n'
    )
    (tmp_path / 'own.py').write_text(
        f"_base_ = '{root}/configs/ean/resnet20_se_digits.py'\n"
        "custom_imports = dict(imports=['align', 'ean_mm'])\n"
        "model = dict(neck=dict(_delete_=True, type='Align'))\n"
    )
    status, errors = python('-c', (
        f"import runpy, sys; sys.path.insert(0, '.'); sys.argv[1:] = ['own.py']; "
        f"runpy.run_path('{root}/tools/train.py', run_name='__main__')"
    ))  # fmt: skip
    assert status == 1 and errors.count('\n') == 1, errors
    assert LINE in errors and 'run make install, which' in errors


def test_a_toolbox_that_the_demo_does_not_install_says_how_to_get_it(
    root, tool, monkeypatch
):
    monkeypatch.setattr('mmengine.config.config.is_installed', lambda name: False)
    config = root / 'configs/ean_seg/fcn_r18-d8_camvid.py'
    fails(tool('train.py', config), 'is not installed', 'run make install, which')
