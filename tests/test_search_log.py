"""What a search tells others while it runs."""

import json
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class ListeningHook(Hook):
    """Notes what the search says."""

    events = []

    def before_search(self, runner, search):
        self.events[:] = ['before_search']

    def after_search_step(self, runner, record):
        self.events.append(record)

    def after_search(self, runner, best, mask_files):
        self.events.append(mask_files)


def test_scalars_reach_the_visualizer_and_other_hooks_are_told(
    digits_config, build_runner
):
    digits_config.custom_hooks.append(dict(type='ListeningHook'))
    runner = build_runner(digits_config)
    runner.train()
    scalars = next(Path(digits_config.work_dir).glob('*/vis_data/scalars.json'))
    logged = [json.loads(line) for line in scalars.read_text().splitlines()]
    logged = [line for line in logged if 'search/reward' in line]
    assert [line['step'] for line in logged] == [0, 1, 2, 3, 4]
    events = ListeningHook.events
    assert events[0] == 'before_search'
    assert [record['step'] for record in events[1:-1]] == [0, 1, 2, 3, 4]
    assert [path.name for path in events[-1]] == ['mask_backbone.json']


def test_scalars_reach_tensorboard(digits_config, build_runner):
    accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator'
    )
    digits_config.visualizer.vis_backends = [dict(type='TensorboardVisBackend')]
    build_runner(digits_config).train()
    folder = next(Path(digits_config.work_dir).glob('*/vis_data'))
    events = accumulator.EventAccumulator(str(folder)).Reload()
    assert [event.step for event in events.Scalars('search/reward')] == [0, 1, 2, 3, 4]
