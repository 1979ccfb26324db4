"""Checkpoints are whole, whatever happens while they are written."""

import errno
import io
import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from resumed import resume, train

from ean_mm import EANError
from ean_mm.launch import explain_errors, set_resume, use_safe_checkpoints


@pytest.fixture
def cfg(digits_config):
    """A supernet of two validated epochs, of six iterations with random crops each."""
    digits_config.custom_hooks = [dict(type='MaskHook'), dict(type='SupernetHook')]
    digits_config.train_cfg.update(max_epochs=2, val_interval=1)
    digits_config.train_dataloader.batch_size = 256
    return digits_config


def test_a_checkpoint_is_removed_after_the_next_one_is_complete(
    cfg, build_runner, monkeypatch
):
    cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    work_dir, seen = Path(cfg.work_dir), []
    remove = os.remove

    def watch(path):
        last = (work_dir / 'last_checkpoint').read_text()
        torch.load(last, weights_only=True)
        seen.append((Path(path).name, Path(last).name))
        remove(path)

    monkeypatch.setattr(os, 'remove', watch)
    train(build_runner, cfg)
    assert seen == [('epoch_1.pth', 'epoch_2.pth')]
    assert [path.name for path in work_dir.glob('*.pth')] == ['epoch_2.pth']


def test_the_best_checkpoint_is_removed_after_the_next_one_is_complete(
    cfg, build_runner, monkeypatch
):
    cfg.default_hooks.checkpoint.update(save_best='accuracy/top1', rule='less')
    cfg.val_evaluator = dict(type='FallingAccuracy')
    work_dir, present = Path(cfg.work_dir), []
    remove = os.remove

    def watch(path):
        present.append(sorted(file.name for file in work_dir.glob('best_*')))
        remove(path)

    monkeypatch.setattr(os, 'remove', watch)
    train(build_runner, cfg)
    best = [f'best_accuracy_top1_epoch_{epoch}.pth' for epoch in (1, 2)]
    assert present == [best]
    assert [file.name for file in work_dir.glob('best_*')] == best[1:]


@METRICS.register_module()
class FallingAccuracy(BaseMetric):
    """Ends every validation with less than the one before."""

    value = 100.0

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        self.value -= 1
        return {'accuracy/top1': self.value}


def test_a_validation_that_a_kill_cut_off_is_done_again(cfg, build_runner):
    cfg.default_hooks.checkpoint.save_best = 'accuracy/top1'
    cfg.val_evaluator = dict(type='FallingAccuracy')
    train(build_runner, cfg)
    work_dir = Path(cfg.work_dir)
    best = work_dir / 'best_accuracy_top1_epoch_1.pth'
    # as if it had been killed before the first validation
    checkpoint = torch.load(work_dir / 'epoch_1.pth', weights_only=True)
    for name in ('best_score', 'best_ckpt'):
        del checkpoint['message_hub']['runtime_info'][name]
    torch.save(checkpoint, work_dir / 'epoch_1.pth')
    best.unlink()
    resume(build_runner, cfg, work_dir / 'epoch_1.pth')
    assert list(work_dir.glob('best_*')) == [best]


def test_a_damaged_last_checkpoint_is_passed_over(cfg, build_runner, capsys):
    train(build_runner, cfg)
    last = Path(cfg.work_dir, 'epoch_2.pth')
    content = last.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for damaged in (b'', content[:middle], content[:-1], flipped):
        last.write_bytes(damaged)
        capsys.readouterr()
        set_resume(cfg, 'auto')
        assert cfg.load_from == f'{cfg.work_dir}/epoch_1.pth'
        out = capsys.readouterr().out
        (warning,) = [line for line in out.splitlines() if 'warning' in line]
        assert warning.startswith(f'warning: checkpoint {last} is damaged')
        assert warning.endswith(f'going on from {cfg.load_from}')
    last.unlink()
    set_resume(cfg, 'auto')
    assert cfg.load_from == f'{cfg.work_dir}/epoch_1.pth'


def test_a_missing_last_checkpoint_is_made_up_for(cfg, build_runner, monkeypatch):
    """As a start under torchrun without --resume leaves a work dir, if it fails."""
    train(build_runner, cfg)
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '0')
    set_resume(cfg, None)
    assert not Path(cfg.work_dir, 'last_checkpoint').exists()
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '1')
    set_resume(cfg, None)  # a restart goes on from nothing of another run
    assert cfg.get('load_from') is None
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '0')
    set_resume(cfg, 'auto')
    assert cfg.load_from == f'{cfg.work_dir}/epoch_2.pth'
    set_resume(cfg, 'auto')  # what it starts from is not its own
    assert cfg.load_from == f'{cfg.work_dir}/epoch_1.pth'


def test_a_run_that_goes_on_elsewhere_leaves_the_old_one_whole(cfg, build_runner):
    cfg.default_hooks.checkpoint.update(save_best='accuracy/top1', max_keep_ckpts=1)
    cfg.train_cfg.max_epochs = 1
    train(build_runner, cfg)
    old = Path(cfg.work_dir)
    before = sorted(old.glob('*.pth'))
    cfg.work_dir = f'{cfg.work_dir}_elsewhere'
    cfg.train_cfg.max_epochs = 3
    resume(build_runner, cfg, old / 'epoch_1.pth')
    assert sorted(old.glob('*.pth')) == before
    new = {path.name for path in Path(cfg.work_dir).glob('*.pth')}
    assert 'epoch_3.pth' in new and 'epoch_2.pth' not in new
    assert [name for name in new if 'best' in name]  # it was better, so that it counts


def test_without_a_whole_checkpoint_resuming_is_refused(cfg, tmp_path):
    cfg.work_dir = str(tmp_path)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    (tmp_path / 'epoch_1.pth').write_bytes(b'PK')
    with pytest.raises(EANError, match='is damaged.*no other to resume from') as caught:
        set_resume(cfg, 'auto')
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'hooks, kind',
    [
        (
            dict(checkpoint=dict(type='CheckpointHook', interval=3)),
            'SafeCheckpointHook',
        ),
        (dict(), 'SafeCheckpointHook'),
        (None, 'SafeCheckpointHook'),
        (dict(checkpoint=dict(type='OwnHook')), 'OwnHook'),
        (dict(checkpoint=None), None),
    ],
    ids=['of mmdet', 'default', 'no hooks', "a user's own", 'none'],
)
def test_every_config_gets_safe_checkpoints(hooks, kind):
    cfg = Config(dict(default_hooks=hooks))
    use_safe_checkpoints(cfg)
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint and checkpoint.type) == kind


def small_disk(monkeypatch, room):
    """Let writing fail as on a full disk after so many bytes."""
    left = [room]

    class File(io.FileIO):
        def write(self, content):
            left[0] -= memoryview(content).nbytes
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(content)

    monkeypatch.setattr(os, 'fdopen', File)


@pytest.mark.parametrize('where', ['checkpoint', 'search'])
def test_a_full_disk_is_one_line_and_what_was_saved_is_whole(
    tool, digits_config, tmp_path, where
):
    cfg = digits_config
    cfg.train_cfg.max_epochs = 2
    cfg.train_dataloader.batch_size = 256
    cfg.pop('work_dir')
    cfg.dump(tmp_path / 'search.py')
    through, work_dir = tmp_path / 'through', tmp_path / 'full'
    assert tool('train.py', 'search.py', '--work-dir', through)[0] == 0
    size = (through / 'epoch_2.pth').stat().st_size
    room = int(size * (1.5 if where == 'checkpoint' else 2.1))
    with pytest.MonkeyPatch.context() as monkeypatch:
        small_disk(monkeypatch, room)
        status, _ = tool('train.py', 'search.py', '--work-dir', work_dir)
    path = work_dir / ('epoch_2.pth' if where == 'checkpoint' else 'search/state.pth')
    assert status.startswith(f'error: {path}: No space left on device; make room')
    assert '\n' not in status
    assert not list(work_dir.rglob('*.tmp'))
    assert tool('train.py', 'search.py', '--work-dir', work_dir, '--resume')[0] == 0
    for name in ('search/history.jsonl', 'mask_backbone.json'):
        assert (work_dir / name).read_bytes() == (through / name).read_bytes()


@pytest.mark.parametrize('work_dir', ['file', 'file/below'])
def test_a_work_dir_that_cannot_be_made_is_one_line(tool, root, tmp_path, work_dir):
    (tmp_path / 'file').touch()
    status, _ = tool(
        'train.py',
        root / 'configs/ean/resnet20_se_search_digits.py',
        '--work-dir',
        tmp_path / work_dir,
    )
    assert status.startswith(f'error: {tmp_path / work_dir}: ')
    assert 'name another place' in status and '\n' not in status


def test_an_error_that_the_user_cannot_mend_keeps_its_traceback():
    def missing():
        open('/nowhere')

    with pytest.raises(FileNotFoundError):
        explain_errors(missing)
