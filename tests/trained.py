"""Searches that train their masks."""

import copy

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

SEEN = {}
"""what the hook below has seen in the trainings of each mask"""


@HOOKS.register_module(force=True)
class WatchTrainingHook(Hook):
    """Keeps the first image and the learning rate of every iteration, and the weights
    that a training begins with."""

    def before_train(self, runner):
        self.seen = []
        self.start = copy.deepcopy(runner.model.state_dict())

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        rate = runner.optim_wrapper.get_lr()['lr'][0]
        self.seen.append((data_batch['inputs'][0].clone(), rate, self.start))
        if len(self.seen) == 9:  # not the few that tell beforehand what it costs
            SEEN[str(runner.model.backbone.mask)] = self.seen


def searched_by_training(cfg):
    """A search by training: a plain training's config and the hook."""
    cfg.train_cfg.max_epochs = 3
    cfg.param_scheduler = [
        dict(type='MultiStepLR', by_epoch=True, milestones=[1, 2], gamma=0.1)
    ]
    cfg.custom_hooks = [
        dict(type='MaskHook'),
        dict(
            type='EANSearchHook',
            evaluation=dict(type='TrainedEvaluation', budget=9),
            searcher=dict(type='RandomSearcher', num_steps=2, masks_per_step=2),
            reward=dict(sparsity_weight=0.0),
        ),
    ]
    SEEN.clear()
    return cfg


def search(build_runner, cfg):
    runner = build_runner(cfg)
    runner.train()
    return runner


def bits(text):
    return tuple(int(char) for char in text if char != '-')
