"""Searches by training that are killed, or shared by processes, end as one alone does.

docs/robustness.md has the table of what is promised, and the quick tests of it.
"""

import random
import signal
from pathlib import Path

import pytest
from killing import finish, kill_and_resume, start
from test_faults import assert_equal_searches, distributed, dump, lines

pytestmark = pytest.mark.slow

KILLS = 10


@pytest.fixture
def config(digits_config, tmp_path):
    """A config file of a search by training, 12 masks of 60 iterations."""
    cfg = digits_config
    cfg.custom_imports.imports = ['ean_mm', 'recording']
    cfg.train_cfg.max_epochs = 3
    cfg.custom_hooks = [
        dict(type='MaskHook'),
        dict(
            type='EANSearchHook',
            evaluation=dict(type='TrainedEvaluation', budget=60, rungs=(30,)),
            searcher=dict(type='SurrogateSearcher', num_steps=3, masks_per_step=4),
            reward=dict(sparsity_weight=0.0),
        ),
    ]
    return dump(cfg, tmp_path / 'search.py')


def trained(work_dir):
    return len(list(Path(work_dir, 'search/trainings').glob('*.json')))


def test_a_search_by_training_killed_at_10_moments_ends_the_same(config, tmp_path):
    through, work_dir = tmp_path / 'through', tmp_path / 'killed'
    finish(start(config, through))
    assert trained(through) >= 12
    seed = random.randrange(2**32)
    print(f'moments of seed {seed}')
    rng = random.Random(seed)
    numbers = sorted(rng.choices(range(12), k=KILLS))
    moments = [
        (lambda number=number: trained(work_dir) >= number, rng.random() * 2)
        for number in numbers
    ]
    killed = kill_and_resume(config, work_dir, moments)
    print(f'killed {killed} times')
    assert killed >= KILLS // 2
    assert_equal_searches(through, work_dir)


def test_two_processes_train_the_masks_of_one_and_a_dead_ones_are_done(
    root, config, tmp_path
):
    one, two, killed = (tmp_path / name for name in ('one', 'two', 'killed'))
    finish(start(config, one))
    status, output = distributed(root, config, two)
    assert status == 0, output[-3000:]
    assert_equal_searches(one, two)
    assert lines(one / 'search/history.jsonl')

    kill = 'custom_hooks.2.type=DieInMaskHook'
    folder = f'custom_hooks.2.folder={tmp_path}'
    text = config.read_text().rstrip()
    assert text
    with open(config, 'a') as file:
        file.write("\ncustom_hooks.append(dict(type='DieInMaskHook', folder='.'))\n")
    status, output = distributed(
        root, config, killed, '--cfg-options', kill, folder, restarts=1
    )
    assert status == 0, output[-3000:]
    assert (tmp_path / 'died_in_masks').exists(), signal.SIGKILL
    assert_equal_searches(one, killed)
