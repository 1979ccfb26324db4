"""Runs that are killed, or whose disk fills, end as an undisturbed one does.

docs/robustness.md has the table of what is promised, and the quick tests of it.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from killing import (
    assert_equal_searches,
    dump,
    finish,
    kill_and_resume,
    lines,
    start,
    train_with_two,
)

pytestmark = pytest.mark.slow

EPOCHS, ITERATIONS, STEPS, KILLS = 5, 22, 150, 20


@pytest.fixture
def rng():
    """Other moments every time; the seed is printed with a failure."""
    seed = random.randrange(2**32)
    print(f'moments of seed {seed}')
    return random.Random(seed)


@pytest.fixture
def config(digits_config, tmp_path):
    """A config file that trains a supernet, keeping one checkpoint, and searches."""
    cfg = digits_config
    cfg.custom_imports.imports = ['ean_mm', 'recording']
    cfg.custom_hooks.append(dict(type='RecordMasksHook'))
    cfg.train_cfg.update(max_epochs=EPOCHS, val_interval=1)
    cfg.default_hooks.checkpoint.update(max_keep_ckpts=1, save_best='accuracy/top1')
    return dump(cfg, tmp_path / 'supernet.py')


def assert_equal_weights(one, other):
    """Two work dirs have the same checkpoints, with the same weights and optimizer."""
    names = sorted(path.name for path in one.glob('*.pth'))
    assert sorted(path.name for path in other.glob('*.pth')) == names
    for name in names:
        both = [torch.load(folder / name, weights_only=True) for folder in (one, other)]
        for part in {'state_dict', 'optimizer'} & both[0].keys():
            assert_equal(both[0][part], both[1][part])


def assert_equal(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    else:
        assert one == other


def temporary_files(folder):
    return list(folder.glob('.*.tmp'))


def test_a_supernet_killed_at_20_moments_ends_the_same(config, tmp_path, rng):
    through, work_dir = tmp_path / 'through', tmp_path / 'killed'
    finish(start(config, through))

    def trained(iteration):
        return lambda: len(set(lines(work_dir / 'masks_rank0.txt'))) > iteration

    def saving(iteration):
        return lambda: trained(iteration)() and temporary_files(work_dir)

    iterations = sorted(rng.randrange(EPOCHS * ITERATIONS) for _ in range(KILLS))
    moments = [
        (saving(iteration), 0)
        if number % 3 == 0
        else (trained(iteration), rng.random() * 0.2)
        for number, iteration in enumerate(iterations)
    ]
    killed = kill_and_resume(config, work_dir, moments)
    print(f'killed {killed} times')
    assert killed >= KILLS // 2
    assert_equal_weights(through, work_dir)
    assert_equal_searches(through, work_dir)
    drawn = dict(line.split() for line in lines(work_dir / 'masks_rank0.txt'))
    assert drawn == dict(line.split() for line in lines(through / 'masks_rank0.txt'))
    assert not temporary_files(work_dir)


def test_a_search_killed_at_20_moments_ends_the_same(
    digits_config, build_runner, tmp_path, rng
):
    cfg = digits_config
    weights = build_runner(cfg).model.state_dict()  # a supernet as initialised
    torch.save(dict(state_dict=weights), tmp_path / 'supernet.pth')
    cfg.load_from = str(tmp_path / 'supernet.pth')
    cfg.train_cfg.max_epochs = 0
    cfg.param_scheduler = None
    cfg.custom_hooks[2].searcher.num_steps = STEPS
    config = dump(cfg, tmp_path / 'search.py')
    through, work_dir = tmp_path / 'through', tmp_path / 'killed'
    finish(start(config, through))

    def searched(step):
        return lambda: len(lines(work_dir / 'search/history.jsonl')) >= step

    steps = sorted(rng.randrange(STEPS) for _ in range(KILLS))
    moments = [(searched(step), rng.random() * 0.05) for step in steps]
    killed = kill_and_resume(config, work_dir, moments)
    print(f'killed {killed} times')
    assert killed >= KILLS // 2
    assert_equal_searches(through, work_dir)
    assert len(lines(work_dir / 'search/history.jsonl')) == STEPS + 1


# What a save does, in its order: the checkpoint reaches the disk and its place, so does
# last_checkpoint, and the checkpoint before it goes.
OPERATIONS = ['fsync', 'replace', 'fsync', 'replace', 'remove']


def test_a_kill_before_each_operation_of_a_save_loses_no_checkpoint(
    digits_config, tmp_path
):
    cfg = digits_config
    cfg.custom_imports.imports = ['ean_mm', 'recording']
    cfg.custom_hooks = [dict(type='SupernetHook'), dict(type='DieInSaveHook', epoch=2)]
    cfg.train_cfg.max_epochs = 3
    cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    cfg.train_dataloader.batch_size = 256
    config, through = dump(cfg, tmp_path / 'supernet.py'), tmp_path / 'through'
    finish(start(config, through, '--cfg-options', 'custom_hooks.1.number=-1'))
    for number, operation in enumerate(OPERATIONS):
        work_dir = tmp_path / f'{number}_{operation}'
        finish(
            start(
                config,
                work_dir,
                '--cfg-options',
                f'custom_hooks.1.number={number}',
                f'custom_hooks.1.operation={operation}',
            ),
            status=-9,
        )
        last = Path((work_dir / 'last_checkpoint').read_text())
        assert last.name == ('epoch_2.pth' if number == 4 else 'epoch_1.pth')
        assert torch.load(last, weights_only=True)['meta']['epoch'] == int(
            last.stem[-1]
        )
        finish(start(config, work_dir, '--resume'))
        assert_equal_weights(through, work_dir)
        assert not temporary_files(work_dir)


def test_one_of_two_processes_killed_in_training_and_search(digits_config, tmp_path):
    """By itself with MAX_RESTARTS, and with --resume without."""
    cfg = digits_config
    cfg.custom_imports.imports = ['ean_mm', 'recording']
    cfg.train_cfg.max_epochs = 3
    cfg.train_dataloader.batch_size = 128
    undisturbed = dump(cfg, tmp_path / 'supernet.py')
    cfg.custom_hooks.append(dict(type='DieHook', folder=str(tmp_path)))
    (tmp_path / 'killed').mkdir()
    config = dump(cfg, tmp_path / 'killed/supernet.py')
    through = tmp_path / 'through'
    status, output = train_with_two(undisturbed, through)
    assert status == 0, output[-3000:]

    restarted = tmp_path / 'restarted'
    status, output = train_with_two(config, restarted, restarts=2)
    assert status == 0, output[-3000:]
    assert_equal_weights(through, restarted)
    assert_equal_searches(through, restarted)

    for death in tmp_path.glob('died_*'):
        death.unlink()
    resumed, arguments = tmp_path / 'resumed', []
    for _ in range(2):
        status, output = train_with_two(config, resumed, *arguments)
        assert status != 0
        arguments = ['--resume']
    assert len(list(tmp_path.glob('died_*'))) == 2
    status, output = train_with_two(config, resumed, '--resume')
    assert status == 0, output[-3000:]
    assert_equal_weights(through, resumed)
    assert_equal_searches(through, resumed)


def with_mounts(script, root, config, work_dir):
    """Run a script in a mount namespace of its own, which needs no root to be made.

    It may call ``disk OPTIONS``, which mounts the work dir, and ``train OUTPUT
    [ARGUMENTS]``, which also notes the status.
    """
    work_dir.mkdir()
    functions = f"""
disk() {{ mount -t tmpfs -o "$1" none {work_dir} || exit 77; }}
train() {{
  output={work_dir}.$1; shift
  {sys.executable} -W ignore {root}/tools/train.py {config} --work-dir {work_dir} \\
    "$@" >"$output" 2>&1
  echo $? >>{work_dir}.status
}}
"""
    run = subprocess.run(
        ['unshare', '--mount', '--map-root-user', 'sh', '-c', functions + script],
        capture_output=True, text=True, timeout=400,
        env=dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=f'{root}:{root}/tests'),
    )  # fmt: skip
    if 'Operation not permitted' in run.stderr or run.returncode == 77:
        pytest.skip(f'nothing can be mounted here: {run.stderr}')
    assert run.returncode == 0, run.stderr
    return Path(f'{work_dir}.status').read_text().split()


def test_a_full_disk_ends_in_one_line_and_training_goes_on_when_there_is_room(
    root, config, tmp_path
):
    through, small = tmp_path / 'through', tmp_path / 'small'
    finish(start(config, through))
    size = int((through / f'epoch_{EPOCHS}.pth').stat().st_size * 2.2)
    script = f"""
disk size={size}
train full
cp -r {small} {small}.left
mount -o remount,size=100m {small}
train resumed --resume
cp -r {small} {small}.end
"""
    status = with_mounts(script, root, config, small)
    output = Path(f'{small}.full').read_text()
    assert status == ['1', '0'], output[-3000:]
    assert output.splitlines()[-1].startswith('error: ')
    assert 'No space left on device; make room' in output.splitlines()[-1]
    assert 'Traceback' not in output
    left = Path(f'{small}.left')
    assert not temporary_files(left)
    last = left / Path((left / 'last_checkpoint').read_text()).name
    torch.load(last, weights_only=True)
    assert_equal_weights(through, Path(f'{small}.end'))
    assert_equal_searches(through, Path(f'{small}.end'))


def test_a_work_dir_that_cannot_be_written_to_is_one_line(root, config, tmp_path):
    status = with_mounts('disk ro\ntrain out', root, config, tmp_path / 'work')
    output = (tmp_path / 'work.out').read_text()
    assert status == ['1']
    (error,) = [line for line in output.splitlines() if line.startswith('error: ')]
    assert 'Read-only file system; change its permissions, or name' in error
    assert 'Traceback' not in output
