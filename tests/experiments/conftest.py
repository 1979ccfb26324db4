"""A finished table of trained networks, to work in."""

import shutil

import pytest
from tables import TABLE, run_tool

from studies import scheduler, supernet_scores


@pytest.fixture(scope='session')
def finished(root, tmp_path_factory):
    """A folder with a finished table."""
    folder = tmp_path_factory.mktemp('finished')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_tool(root, *TABLE) == 0
    return folder


@pytest.fixture
def folder(finished, tmp_path, monkeypatch):
    """A copy of it, to work in."""
    shutil.copytree(finished, tmp_path / 'copy')
    monkeypatch.chdir(tmp_path / 'copy')
    return tmp_path / 'copy'


@pytest.fixture
def tool(root, capsys):
    """Run a tool in this process; return its exit status and what it printed."""
    return lambda *arguments: (run_tool(root, *arguments), capsys.readouterr().out)


@pytest.fixture
def no_training(monkeypatch):
    def refuse(run, work_dir):
        raise AssertionError(f'{run} is trained')

    monkeypatch.setattr(scheduler, 'execute', refuse)
    monkeypatch.setattr(supernet_scores, 'execute', refuse)
