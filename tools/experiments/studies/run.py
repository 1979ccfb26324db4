"""A run: one training, known by the hash of its config."""

import hashlib
import json
import shutil
import time
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Dict, Optional

import torch
from mmengine.config import Config

from ean_mm.launch import quiet_runner
from ean_mm.mask import Mask
from ean_mm.models import count_parameters
from studies.results import LABEL, Row

SEARCH = 'search'
"""variant of a run of a supernet and its search; its row has the mask"""

# What a result depends on; where the data lies and what is logged is not among it.
RESULT_KEYS = (
    'model',
    'data_preprocessor',
    'train_dataloader',
    'val_dataloader',
    'test_dataloader',
    'val_evaluator',
    'test_evaluator',
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
    'custom_hooks',
    'randomness',
)


LOG_KEYS = ('log_level', 'log_processor', 'visualizer', 'default_hooks.logger')


@dataclass(frozen=True)
class Run:
    """One training of a network, or of a supernet and its search.

    Args:
        protocol: Name of its protocol.
        options: What the command line overrides, as text.
        network: Name of its network.
        attention: Name of its attention, ``'none'`` for the plain network.
        variant: Where attention is plugged in.
        seed: Seed of everything random in it.
        mask: The mask; empty for a search.
        metric: Name of the metric on the test set.
        to_percent: Factor that makes percent of it.
        cfg: The whole config.
        others: What is overridden in other parts of it than ``RESULT_KEYS``, as
            ``load_from``, but for what is logged.
    """

    protocol: str
    options: str
    network: str
    attention: str
    variant: str
    seed: int
    mask: str
    metric: str
    to_percent: float
    cfg: Config = field(compare=False, repr=False)
    others: Dict[str, Any] = field(compare=False, repr=False)

    @cached_property
    def hash(self) -> str:
        """Hash of what the result depends on."""
        return hash_of_config(self.cfg, self.others)

    def facts(self) -> Row:
        """Return the part of its row that is known before it runs."""
        label = {name: getattr(self, name) for name in LABEL}
        return dict(label, metric=self.metric, config_hash=self.hash)

    def folder(self, work_dir: Path) -> Path:
        """Return the folder of its own for logs and checkpoints."""
        return work_dir / self.hash

    def __str__(self) -> str:
        attention = '' if self.attention == 'none' else f' {self.attention}'
        return f'{self.network}{attention}, {self.variant}, seed {self.seed}'


def execute(run: Run, work_dir: Path) -> Row:
    """Train a network and test it, or train a supernet and search.

    Args:
        run: What to do.
        work_dir: Folder for the folders of the runs. What a killed run has left in this
            one's is removed.
    """
    folder = run.folder(work_dir)
    shutil.rmtree(folder, ignore_errors=True)
    runner = quiet_runner(run.cfg, folder)
    started = time.perf_counter()
    runner.train()
    seconds = time.perf_counter() - started
    row = dict(
        run.facts(),
        train_images=len(runner.train_dataloader.dataset),
        epochs=runner.epoch,
        iterations=runner.iter,
        train_seconds=round(seconds, 1),
        **where_and_when(),
    )
    if run.variant == SEARCH:
        mask = Mask.from_file(folder / 'mask_backbone.json')
        row.update(
            percent=mask.info['accuracy'],
            test_images=mask.info['found_by']['reward_images'],
        )
    else:
        row.update(
            percent=round(float(runner.test()[run.metric]) * run.to_percent, 4),
            test_images=len(runner.test_dataloader.dataset),
        )
    return dict(
        row,
        mask=str(runner.model.backbone.mask),
        parameters=count_parameters(runner.model),
    )


def where_and_when() -> Row:
    """Return the part of a row that says where and when it was made."""
    return dict(
        date=time.strftime('%Y-%m-%d'),
        machine=_machine(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )


def hash_of_config(cfg: Config, others: Optional[Dict[str, Any]] = None) -> str:
    """Hash what a result depends on of a config, and of other settings."""
    content = {key: cfg.to_dict().get(key) for key in RESULT_KEYS}
    content.update(others or {})
    text = json.dumps(_without_folders(content), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _without_folders(node: Any) -> Any:
    """Return what a config holds without the folders that data lie in."""
    if isinstance(node, dict):
        return {k: _without_folders(v) for k, v in node.items() if k != 'data_root'}
    if isinstance(node, (list, tuple)):
        return [_without_folders(item) for item in node]
    return node


@cache
def _machine() -> str:
    """Name the GPU, or else the processor and the instructions that PyTorch uses.

    The same seed gives other numbers with other instructions, which processors of one
    name may differ in.
    """
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name = 'unknown'
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            name = line.partition(':')[2].strip()
            break
    return f'{name}, {torch.backends.cpu.get_cpu_capability()}'
