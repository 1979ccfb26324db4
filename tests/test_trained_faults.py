"""Searches by training that are killed, or shared by processes, end as one alone does.

docs/robustness.md has the table of what is promised, and the quick tests of it.
"""

import random
from pathlib import Path

import pytest
from killing import (
    assert_equal_searches,
    dump,
    finish,
    kill_and_resume,
    start,
    train_with_two,
)

pytestmark = pytest.mark.slow

KILLS = 10


@pytest.fixture
def cfg(digits_config):
    """A search by training, 12 masks of 60 iterations."""
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
    return cfg


def trained(work_dir):
    return len(list(Path(work_dir, 'search/trainings').glob('*.json')))


def test_a_search_by_training_killed_at_10_moments_ends_the_same(cfg, tmp_path):
    config = dump(cfg, tmp_path / 'search.py')
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


def test_two_processes_train_the_masks_of_one_and_a_dead_ones_are_done(cfg, tmp_path):
    one, two, killed = (tmp_path / name for name in ('one', 'two', 'killed'))
    # A mask's file names the config: both have the same name.
    undisturbed = dump(cfg, tmp_path / 'search.py')
    finish(start(undisturbed, one))
    status, output = train_with_two(undisturbed, two)
    assert status == 0, output[-3000:]
    assert_equal_searches(one, two)

    cfg.custom_hooks.append(dict(type='DieInMaskHook', folder=str(tmp_path)))
    (tmp_path / 'dying').mkdir()
    dying = dump(cfg, tmp_path / 'dying/search.py')
    status, output = train_with_two(dying, killed, restarts=1)
    assert status == 0, output[-3000:]
    assert (tmp_path / 'died_in_masks').exists()
    assert_equal_searches(one, killed)
