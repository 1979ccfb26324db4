"""Which versions EAN-MM is tested with, and what it says of others."""

import re
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from ean_mm.compat import (
    TESTED,
    import_toolbox,
    untested,
    warn_of_untested_versions,
)


def versions(stack, **others):
    """The tested versions of a stack by import name, with others in their place."""
    tested = {name: each.partition('==')[2] for name, each in TESTED[stack].items()}
    return {**tested, **others}


@pytest.mark.parametrize('stack', TESTED)
def test_tested_versions_are_no_reason_to_warn(stack):
    assert untested(versions(stack)) == {}


def test_another_patch_release_is_no_reason_to_warn():
    assert untested(versions('openmmlab', torch='2.11.3+cpu')) == {}


def test_another_minor_release_is_one():
    assert untested(versions('onedl', mmcv='2.4.0')) == {'mmcv': '2.3.6'}


def test_what_is_not_installed_is_no_reason_to_warn():
    assert untested({'torch': '2.11.0', 'mmcv': '2.3.6'}) == {}


def test_an_untested_version_is_one_line(monkeypatch):
    monkeypatch.setattr('mmcv.__version__', '9.9.0')
    with pytest.warns(UserWarning) as caught:
        warn_of_untested_versions()
    (warning,) = caught
    assert 'not tested with mmcv 9.9.0, but with mmcv 2.' in str(warning.message)
    printed = warnings.formatwarning(
        warning.message, warning.category, warning.filename, warning.lineno
    )
    assert printed.count('\n') == 1


def test_the_warning_can_be_silenced(monkeypatch, recwarn):
    monkeypatch.setattr('mmcv.__version__', '9.9.0')
    warnings.filterwarnings('ignore', message='EAN-MM')
    warn_of_untested_versions()
    assert not recwarn.list


def test_a_toolbox_that_refuses_a_version_is_one_line(tmp_path, monkeypatch):
    (tmp_path / 'refusing.py').write_text("assert False, 'MMCV==9.9.0 is used.'")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ImportError, match=r'^refusing does not import: .*mmcv==2\.1\.0'
    ):
        import_toolbox('refusing')


@pytest.mark.parametrize('stack', TESTED)
def test_readme_names_the_tested_versions(root, stack):
    readme = ' '.join((root / 'README.md').read_text().split())
    for each in TESTED[stack].values():
        name, _, version = each.partition('==')
        wanted = f'PyTorch {version[:4]}' if name == 'torch' else f'{name} {version}'
        assert wanted in readme, wanted


@pytest.mark.parametrize('stack', TESTED)
def test_the_extras_ask_for_the_tested_minor_versions(root, stack):
    lines = (root / f'requirements/{stack}.txt').read_text().splitlines()
    for name, each in TESTED[stack].items():
        if name not in ('torch', 'mmcv'):
            assert f'{each.rpartition(".")[0]}.*' in lines


@pytest.mark.parametrize('stack', TESTED)
def test_the_tested_mmcv_is_what_is_compiled(root, stack):
    script = (root / 'tools/install.sh').read_text()
    (found,) = re.findall(rf'{stack}\) mmcv=(\S+) mmcv_version=(\S+)', script)
    assert '=='.join(found) == TESTED[stack]['mmcv']


def test_what_an_import_prints_is_not_output(tmp_path, monkeypatch, capsys):
    (tmp_path / 'printing.py').write_text("print('no optional data sets')")
    monkeypatch.syspath_prepend(tmp_path)
    import_toolbox('printing')
    assert capsys.readouterr().out == ''


class Touch:
    """Pickles to a call that makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_mmengine_runs_nothing_that_is_in_a_checkpoint(tmp_path):
    path = tmp_path / 'foreign.pth'
    torch.save(dict(state_dict=Touch(tmp_path / 'executed')), path)
    with pytest.raises(ValueError, match='not executed'):
        CheckpointLoader.load_checkpoint(str(path))
    assert not (tmp_path / 'executed').exists()


def test_checkpoints_open_after_mmengine_has_opened_one(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(message_hub=HistoryBuffer([0.5], [1])), path)
    CheckpointLoader.load_checkpoint(str(path))
    assert torch.load(path, weights_only=True)['message_hub'].current() == 0.5
