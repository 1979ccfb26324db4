"""Two processes with gloo, as ``--launcher pytorch`` runs them without a GPU."""

import subprocess
import sys
from pathlib import Path

import pytest
from killing import finish, start, train_with_two
from searches import history

pytestmark = pytest.mark.slow


def train(processes, config, work_dir, *arguments):
    if processes == 1:
        finish(start(config, work_dir, *arguments))
    else:
        status, output = train_with_two(config, work_dir, *arguments)
        assert status == 0, output[-4000:]


@pytest.mark.parametrize('attention', ['SEAttention', 'DIAAttention'])
def test_two_processes_train_and_search_as_one(digits_config, tmp_path, attention):
    cfg = digits_config
    cfg.custom_imports.imports = ['ean_mm', 'recording']
    cfg.custom_hooks.append(dict(type='RecordMasksHook'))
    cfg.model.backbone.attention = dict(type=attention, ratio=4)
    cfg.model.backbone.with_cp = attention == 'DIAAttention'
    cfg.pop('work_dir')
    config = tmp_path / 'search.py'
    cfg.dump(config)

    both = tmp_path / 'both'
    train(2, config, both)
    masks = [Path(both, f'masks_rank{rank}.txt').read_text() for rank in (0, 1)]
    assert masks[0] == masks[1]
    assert len(set(masks[0].split()[1::2])) > 5  # a fresh one for every iteration
    assert (both / 'mask_backbone.json').exists()

    search = [
        '--cfg-options',
        f'load_from={both}/epoch_1.pth',
        'param_scheduler=None',
        'train_cfg.max_epochs=0',
        'custom_hooks.2.searcher.num_steps=8',
    ]
    train(1, config, tmp_path / 'one', *search)
    train(2, config, tmp_path / 'two', *search)
    assert history(tmp_path / 'one') == history(tmp_path / 'two')
    # and the two ranks searched rank 0's network, running statistics included
    assert history(both) == history(tmp_path / 'one')[:4] + history(both)[4:]


@pytest.mark.parametrize('hooks', [[], [dict(type='TurnHook')]], ids=['', 'own loop'])
def test_two_processes_judge_averaged_weights_as_one(digits_config, tmp_path, hooks):
    """Averaged statistics too, which differ between the ranks."""
    cfg = digits_config
    cfg.custom_imports.imports = ['ean_mm', 'recording']
    cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.05, update_buffers=True))
    cfg.custom_hooks += hooks
    cfg.pop('work_dir')
    config = tmp_path / 'search.py'
    cfg.dump(config)
    train(2, config, tmp_path / 'two')
    train(1, config, tmp_path / 'one', '--cfg-options',
           f'load_from={tmp_path}/two/epoch_1.pth', 'param_scheduler=None',
           'train_cfg.max_epochs=0')  # fmt: skip
    assert history(tmp_path / 'two') == history(tmp_path / 'one')


LEAVES_NO_THREAD = """
import sys
from pathlib import Path
import torch
from torch.nn.parallel import DistributedDataParallel
from ean_mm.launch import explain_errors

class Owner:
    def __init__(self):
        torch.distributed.init_process_group(
            'gloo', init_method=f'file://{sys.argv[1]}', rank=0, world_size=1)
        self.model = DistributedDataParallel(torch.nn.Linear(2, 2))
        self.myself = self

explain_errors(lambda: Owner().model(torch.ones(1, 2)).sum().backward())
print([path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')])
"""


@pytest.mark.skipif(not Path('/proc/self/task').exists(), reason='needs Linux')
def test_no_thread_of_the_group_outlives_a_run(tmp_path):
    # One that was still there aborted about every tenth run at its very end.
    run = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', LEAVES_NO_THREAD, tmp_path / 'store'],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    assert 'gloo' not in run.stdout.splitlines()[-1]
