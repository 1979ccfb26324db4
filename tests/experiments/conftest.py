"""A finished table of trained networks, to work in."""

import runpy
import shutil
import sys

import pytest
from tables import RUN, TABLE

from studies import scheduler, supernet_scores


@pytest.fixture(scope='session')
def finished(root, tmp_path_factory):
    """A folder with a finished table."""
    folder = tmp_path_factory.mktemp('finished')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, 'argv', TABLE)
        runpy.run_path(str(root / 'tools' / RUN), run_name='__main__')
    return folder


@pytest.fixture
def folder(finished, tmp_path, monkeypatch):
    """A copy of it, in the folder that tools are run in."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_training(monkeypatch):
    def refuse(run, work_dir):
        raise AssertionError(f'{run} is trained')

    monkeypatch.setattr(scheduler, 'execute', refuse)
    monkeypatch.setattr(supernet_scores, 'execute', refuse)
