"""What is resumed from a checkpoint ends as if it had not been stopped."""

import pytest
import torch
from mmengine.hooks import Hook
from resumed import resume, train

from ean_mm import EANError


@pytest.fixture
def cfg(digits_config):
    """A supernet of two validated epochs, of six iterations with random crops each."""
    digits_config.custom_hooks = [dict(type='MaskHook'), dict(type='SupernetHook')]
    digits_config.train_cfg.update(max_epochs=2, val_interval=1)
    digits_config.train_dataloader.batch_size = 256
    return digits_config


def assert_same_weights(one, other):
    expected = other.model.state_dict()
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(
    'workers',
    [dict(), dict(num_workers=2), dict(num_workers=2, persistent_workers=True)],
    ids=['none', 'two', 'persistent'],
)
def test_a_resumed_training_equals_an_undisturbed_one(
    cfg, build_runner, capsys, workers
):
    cfg.train_dataloader.update(workers)
    cfg.model.backbone.drop_path_rate = 0.2
    cfg.randomness.seed = None  # the checkpoint has it
    through = train(build_runner, cfg)
    resumed = resume(build_runner, cfg, f'{cfg.work_dir}/epoch_1.pth')
    assert resumed.seed == through.seed
    assert 'another' not in capsys.readouterr().out
    assert_same_weights(resumed, through)


@pytest.mark.slow
def test_a_training_by_iterations_is_resumed_exactly(cfg, build_runner):
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=8, val_interval=4)
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler')
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=4)
    cfg.model.backbone.drop_path_rate = 0.2
    through = train(build_runner, cfg)
    resumed = resume(build_runner, cfg, f'{cfg.work_dir}/iter_4.pth')
    assert_same_weights(resumed, through)


def test_workers_draw_other_random_numbers_in_every_epoch(cfg, build_runner):
    cfg.train_dataloader.num_workers = 2
    cfg.train_dataloader.sampler.shuffle = False
    runner, crops = build_runner(cfg), []

    class RecordBatchesHook(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch):
            crops.append(torch.stack(list(data_batch['inputs'])))

    runner.register_hook(RecordBatchesHook())
    runner.train()
    assert len(crops) == 2 * 6
    assert not torch.equal(crops[0], crops[6])


@pytest.mark.parametrize(
    'change, reason',
    [
        (lambda cfg: cfg.randomness.update(seed=1), 'seed 0 and this config has 1'),
        (lambda cfg: cfg.model.backbone.update(attention=None), 'weights differ'),
        (lambda cfg: cfg.model.backbone.update(depth=32), 'weights differ'),
    ],
    ids=['seed', 'attention', 'depth'],
)
def test_another_run_is_not_resumed(cfg, build_runner, change, reason):
    cfg.train_cfg.max_epochs = 1
    cfg.custom_hooks = []
    train(build_runner, cfg)
    change(cfg)
    with pytest.raises(EANError, match=reason) as caught:
        resume(build_runner, cfg)
    assert '\n' not in str(caught.value)


def test_a_changed_config_is_resumed_with_a_warning(cfg, build_runner, capsys):
    train(build_runner, cfg)
    cfg.optim_wrapper.optimizer.lr = 0.5
    cfg.train_dataloader.batch_size = 512
    resume(build_runner, cfg, f'{cfg.work_dir}/epoch_1.pth')
    assert 'another train_dataloader, optim_wrapper than' in capsys.readouterr().out
