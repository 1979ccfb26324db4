"""Which versions EAN-MM is tested with, and what it says of others."""

import re
import warnings

import pytest

from ean_mm.compat import (
    TESTED,
    import_toolbox,
    untested,
    warn_of_untested_versions,
)

# names of the packages where they differ from the names that one imports
DISTRIBUTIONS = {
    'openmmlab': {'mmseg': 'mmsegmentation'},
    'onedl': {
        name: f'onedl-{name}' for name in ('mmengine', 'mmcv', 'mmpretrain')
    } | {'mmdet': 'onedl-mmdetection', 'mmseg': 'onedl-mmsegmentation'},
}  # fmt: skip


@pytest.mark.parametrize('stack', TESTED)
def test_tested_versions_are_no_reason_to_warn(stack):
    assert untested(TESTED[stack]) == {}


def test_another_patch_release_is_no_reason_to_warn():
    assert untested({**TESTED['openmmlab'], 'torch': '2.11.3+cpu'}) == {}


def test_another_minor_release_is_one():
    assert untested({**TESTED['onedl'], 'mmcv': '2.4.0'}) == {'mmcv': '2.3.6'}


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
    with pytest.raises(ImportError, match=r'^refusing does not import: .*mmcv 2\.1\.0'):
        import_toolbox('refusing')


@pytest.mark.parametrize('stack', TESTED)
def test_readme_names_the_tested_versions(root, stack):
    readme = ' '.join((root / 'README.md').read_text().split())
    for name, version in TESTED[stack].items():
        name = DISTRIBUTIONS[stack].get(name, name)
        wanted = f'PyTorch {version[:4]}' if name == 'torch' else f'{name} {version}'
        assert wanted in readme, wanted


@pytest.mark.parametrize('stack', TESTED)
def test_the_extras_ask_for_the_tested_versions(root, stack):
    lines = (root / f'requirements/{stack}.txt').read_text().splitlines()
    for name, version in TESTED[stack].items():
        if name not in ('torch', 'mmcv'):
            name = DISTRIBUTIONS[stack].get(name, name)
            assert f'{name}=={".".join(version.split(".")[:2])}.*' in lines


@pytest.mark.parametrize('stack', TESTED)
def test_the_tested_mmcv_is_what_is_compiled(root, stack):
    script = (root / 'tools/install.sh').read_text()
    (version,) = re.findall(rf'{stack}\) .*mmcv_version=(\S+)', script)
    assert version == TESTED[stack]['mmcv']
