"""Searches that go on after files of theirs were torn, damaged or mixed up."""

import json
from pathlib import Path

import pytest
import torch

from ean_mm import EANError
from ean_mm.search import SearchStorage


def lines(work_dir):
    path = Path(work_dir, 'search/history.jsonl')
    return path.read_bytes().splitlines() if path.exists() else []


def search_once(build_runner, config):
    runner = build_runner(config)
    runner.train()
    return runner


@pytest.fixture(scope='module')
def once(train_once):
    """The config of a supernet and of its search, which has ended after 3 steps."""

    def change(cfg):
        # of this seed the policy's mode is a mask that it has not drawn
        cfg.custom_hooks[2].searcher.update(num_steps=3, seed=2)

    return train_once(change)


@pytest.fixture
def finished(once, copied):
    """A copy of it, which goes on with the search in that supernet."""
    cfg = copied(once)
    cfg.load_from = f'{cfg.work_dir}/epoch_1.pth'
    cfg.train_cfg.max_epochs = 0
    cfg.param_scheduler = None
    cfg.custom_hooks[2].resume = True
    return cfg


def test_resuming_a_finished_search_changes_nothing(finished, build_runner):
    before = lines(finished.work_dir)
    search_once(build_runner, finished)
    assert lines(finished.work_dir) == before


def test_a_torn_last_line_is_of_a_step_that_is_done_again(finished, build_runner):
    before = lines(finished.work_dir)
    path = Path(finished.work_dir, 'search/history.jsonl')
    path.write_bytes(b'\n'.join(before[:3]) + b'\n' + before[3][:50])
    search_once(build_runner, finished)
    assert lines(finished.work_dir) == before


def test_the_rewards_of_a_step_that_was_cut_off_are_known(finished, build_runner):
    """A line that is ahead of the state is not evaluated again."""
    path = Path(finished.work_dir, 'search/history.jsonl')
    records = [json.loads(line) for line in lines(finished.work_dir)]
    records[3]['masks'][0]['metric'] = 12.5
    path.write_text(''.join(f'{json.dumps(record)}\n' for record in records))
    search_once(build_runner, finished)
    assert not records[3]['masks'][0]['known']
    assert json.loads(lines(finished.work_dir)[3])['masks'][0]['metric'] == 12.5


@pytest.mark.parametrize(
    'change, part',
    [
        (lambda cfg: cfg.custom_hooks[2].reward.update(sparsity_weight=3.0), 'reward'),
        (lambda cfg: cfg.custom_hooks[2].searcher.update(lr=0.1), 'searcher'),
        (lambda cfg: cfg.custom_hooks[2].update(calibration_batches=1), 'evaluation'),
        (lambda cfg: [cfg[f'{side}_dataloader'].dataset.update(seed=7)
                      for side in ('train', 'val')], 'reward set'),
        (lambda cfg: cfg.model.backbone.attention.update(type='SPAAttention', ratio=16),
         'weights'),
    ],
    ids=['reward', 'searcher', 'calibration', 'reward set', 'model'],
)  # fmt: skip
def test_the_state_of_another_search_is_refused(finished, build_runner, change, part):
    before = lines(finished.work_dir)
    change(finished)
    if part == 'weights':
        finished.load_from = None
    with pytest.raises(EANError, match=f'another search: .*{part}.* differ') as caught:
        search_once(build_runner, finished)
    assert '\n' not in str(caught.value)
    assert lines(finished.work_dir) == before  # nothing is lost


@pytest.mark.parametrize(
    'content', [b'', b'not a state', 'truncated', 'malicious', 'foreign']
)
def test_an_unreadable_state_is_refused(finished, build_runner, content, tmp_path):
    path = Path(finished.work_dir, 'search/state.pth')
    if content == 'truncated':
        content = path.read_bytes()[:-400]
    if content == 'malicious':
        torch.save({'fingerprint': Touch(tmp_path / 'executed')}, path)
    elif content == 'foreign':
        torch.save({'fingerprint': 'x'}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(EANError, match='not a readable search state'):
        search_once(build_runner, finished)
    assert not (tmp_path / 'executed').exists()
    assert len(lines(finished.work_dir)) == 4


class Touch:
    """Pickles to a call that makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    storage = SearchStorage(tmp_path)
    step = '{"step": 0, "masks": []}'
    storage.history_path.write_text(f'{step}\n{step[:9]}\n{step}\n')
    with pytest.raises(EANError, match='line 2 is damaged'):
        storage.read_history()


@pytest.mark.parametrize(
    'line',
    ['[]', '{}', '5', '{"step": 1, "masks": [{}]}', '{"step": "1", "masks": []}',
     '{"step": 0, "masks": [{"metric": NaN}]}', '[' * 100_000],
    ids=lambda line: line[:40],
)  # fmt: skip
def test_a_line_that_is_no_step_is_named(tmp_path, line):
    storage = SearchStorage(tmp_path)
    storage.history_path.write_text(f'{line}\n')
    with pytest.raises(EANError, match='line 1 is damaged'):
        storage.read_history()


def test_atomic_write_keeps_the_old_file_when_writing_fails(tmp_path):
    from ean_mm.fileio import atomic_write

    path = tmp_path / 'state'
    path.write_text('old')
    with pytest.raises(OSError), atomic_write(path) as file:
        file.write(b'half')
        raise OSError('disk full')
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]
