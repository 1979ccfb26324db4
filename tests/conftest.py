"""Real runners on scikit-learn's digits, small enough for seconds."""

import copy
import runpy
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

import ean_mm  # noqa: F401  (registers the modules)

pytest.register_assert_rewrite(
    'deployable', 'failing', 'killing', 'strangers', 'wrapped'
)

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / 'shared' / 'data'


def pytest_terminal_summary(terminalreporter):
    """Print what tests have counted, from other processes too."""
    for report in terminalreporter.getreports('passed'):
        for name, text in report.user_properties:
            if name == 'counted':
                terminalreporter.write_line(text)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@contextmanager
def no_scope_left_behind():
    """A Runner's default scope would say what the next test's networks mean."""
    before = copy.copy(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict = before


@pytest.fixture(autouse=True)
def own_scope():
    with no_scope_left_behind():
        yield


@pytest.fixture(scope='session')
def root() -> Path:
    return ROOT


@pytest.fixture(scope='session')
def _digits_config():
    return Config.fromfile(ROOT / 'configs/ean/resnet20_se_search_digits.py')


def shrunk(cfg, folder) -> Config:
    """The search on digits, shrunk: 4 channels, an epoch, 4 steps, 50 reward images."""
    cfg = copy.deepcopy(cfg)
    cfg.work_dir = str(folder / 'work')
    cfg.experiment_name = folder.name
    cfg.randomness = dict(seed=0)
    cfg.model.backbone.update(base_channels=4, stem_channels=4)
    cfg.model.head.in_channels = 16
    cfg.train_cfg.max_epochs = 1
    cfg.default_hooks.checkpoint.interval = 1
    cfg.train_dataloader.dataset.num_per_class = 5
    cfg.val_dataloader.dataset.num_per_class = 5
    cfg.custom_hooks[2].searcher.num_steps = 4
    cfg.log_level = 'WARNING'
    return cfg


@pytest.fixture
def digits_config(_digits_config, tmp_path):
    return shrunk(_digits_config, tmp_path)


@pytest.fixture(scope='module')
def train_once(_digits_config, tmp_path_factory):
    """Train what a function makes of the digits' config, for all tests of a module.

    Returns the config. Tests work in copies, which ``copied`` makes.
    """

    def train(change) -> Config:
        cfg = shrunk(_digits_config, tmp_path_factory.mktemp('once'))
        change(cfg)
        with no_scope_left_behind():
            Runner.from_cfg(copy.deepcopy(cfg)).train()
        return cfg

    return train


@pytest.fixture
def copied(tmp_path):
    """Copy a finished run; return the config of the copy."""

    def copy_run(cfg) -> Config:
        shutil.copytree(cfg.work_dir, tmp_path / 'work')
        cfg = copy.deepcopy(cfg)
        cfg.work_dir = str(tmp_path / 'work')
        cfg.experiment_name = tmp_path.name
        return cfg

    return copy_run


@pytest.fixture
def build_runner():
    """Build a runner of a config, under a name of its own."""
    count = 0

    def build(cfg) -> Runner:
        nonlocal count
        count += 1
        cfg.experiment_name = f'{cfg.experiment_name}_{count}'
        return Runner.from_cfg(copy.deepcopy(cfg))

    return build


@pytest.fixture
def tool(root, tmp_path, monkeypatch, capsys):
    """Run a tool in this process; return its exit status and what it printed."""

    def run(name, *arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        try:
            runpy.run_path(str(root / 'tools' / name), run_name='__main__')
            status = 0
        except SystemExit as error:
            status = error.code
        return status, capsys.readouterr().out

    return run


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """The folder of archives of real images beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip('no ../shared/data beside the checkout')
    return SHARED_DATA
