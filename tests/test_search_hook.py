"""The search on real runners: digits, a small network, a few steps."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS, MODELS
from searches import history
from torch import nn

from ean_mm import EANError, Mask, SEAttention
from ean_mm.search import SearchSpace


@METRICS.register_module()
class FixedMetric(BaseMetric):
    """Reports what a test wants, whatever the network says."""

    default_prefix = 'fixed'

    def __init__(self, value=0.5, **kwargs):
        super().__init__(**kwargs)
        self.value = value

    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        return dict(value=self.value)


@MODELS.register_module()
class MaskedNeck(nn.Module):
    """A second module with a mask of its own."""

    stage_blocks = (2,)
    attention = dict(type='SEAttention')

    def __init__(self):
        super().__init__()
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.set_mask('all')

    def set_mask(self, mask):
        self.mask = Mask.parse(mask, self.stage_blocks)

    def forward(self, inputs):
        return tuple(self.gap(x).flatten(1) * (1 + sum(self.mask.bits)) for x in inputs)


def test_search_writes_the_mask_and_sets_the_model_to_it(digits_config, build_runner):
    runner = build_runner(digits_config)
    runner.train()
    work_dir = Path(digits_config.work_dir)
    mask = Mask.from_file(work_dir / 'mask_backbone.json')
    assert runner.model.backbone.mask == mask
    assert mask.info['network'] == 'EANResNetCIFAR-20'
    assert mask.info['attention'] == dict(type='SEAttention', ratio=4)
    assert mask.info['found_by']['reward_images'] == 50
    assert mask.info['found_by']['settings']['masks_per_step'] == 3

    records = history(work_dir)
    assert [record['step'] for record in records] == [0, 1, 2, 3, 4]
    assert [len(record['masks']) for record in records] == [3, 3, 3, 3, 1]
    entries = [entry for record in records for entry in record['masks']]
    best = max(entries, key=lambda entry: entry['reward'])
    assert mask.info['reward'] == pytest.approx(best['reward'], abs=1e-4)
    assert mask.info['accuracy'] == pytest.approx(best['metric'], abs=1e-4)
    for entry in entries:
        sparsity = Mask.parse(entry['mask']['backbone'], (3, 3, 3)).sparsity
        assert entry['reward'] == pytest.approx(entry['metric'] + 2 * sparsity)


def test_rewards_are_the_accuracy_of_the_mask_on_the_reward_set(
    digits_config, build_runner
):
    """Each metric in the history, against a plain loop over the held-out images."""
    runner = build_runner(digits_config)
    runner.train()
    model = runner.model.eval()
    loader = runner.val_loop.dataloader
    for record in history(digits_config.work_dir)[:2]:
        for entry in record['masks']:
            model.backbone.set_mask(entry['mask']['backbone'])
            correct = total = 0
            for batch in loader:
                for sample in model.test_step(batch):
                    correct += int(sample.pred_label) == int(sample.gt_label)
                    total += 1
            assert total == 50
            assert entry['metric'] == pytest.approx(100 * correct / total)


def test_no_mask_is_evaluated_twice(digits_config, build_runner, monkeypatch):
    from ean_mm.search import MaskEvaluator

    evaluated = []
    evaluate = MaskEvaluator.evaluate

    def count(self, masks):
        evaluated.extend(masks)
        return evaluate(self, masks)

    monkeypatch.setattr(MaskEvaluator, 'evaluate', count)
    digits_config.custom_hooks[2].searcher.update(num_steps=30, lr=1.0)
    build_runner(digits_config).train()
    records = history(digits_config.work_dir)
    drawn = [entry for record in records for entry in record['masks']]
    assert len(evaluated) == len(set(evaluated)) == sum(not e['known'] for e in drawn)
    assert len(drawn) == 91 > len(evaluated)
    share = 1 - len(evaluated) / len(drawn)
    assert records[-1]['known_share'] == pytest.approx(share)


def test_the_search_needs_no_training_where_a_supernet_is_loaded(
    digits_config, build_runner
):
    runner = build_runner(digits_config)
    runner.train()
    first = history(digits_config.work_dir)
    digits_config.load_from = f'{digits_config.work_dir}/epoch_1.pth'
    digits_config.work_dir += '_again'
    digits_config.train_cfg.max_epochs = 0
    digits_config.param_scheduler = None
    again = build_runner(digits_config)
    again.train()
    assert history(digits_config.work_dir) == first
    assert again.model.backbone.mask == runner.model.backbone.mask


def test_a_checkpoint_that_is_no_supernet_of_the_model_is_refused(
    digits_config, build_runner, tmp_path
):
    digits_config.train_cfg.max_epochs = 0
    digits_config.param_scheduler = None
    weights = build_runner(digits_config).model.state_dict()
    partial = {k: v for k, v in weights.items() if 'attention' not in k}
    for content, message in (
        (partial, 'not a supernet of this model: 12 of its weights are missing'),
        ({'conv.weight': torch.ones(1)}, 'holds no weights of this model'),
    ):
        torch.save(dict(state_dict=content), tmp_path / 'other.pth')
        digits_config.load_from = str(tmp_path / 'other.pth')
        with pytest.raises(EANError, match=message):
            build_runner(digits_config).train()


def test_every_masked_module_takes_part_and_gets_its_own_file(
    digits_config, build_runner
):
    digits_config.model.neck = dict(type='MaskedNeck')
    runner = build_runner(digits_config)
    space = SearchSpace(runner.model)
    assert space.stage_blocks == {'backbone': (3, 3, 3), 'neck': (2,)}
    assert space.num_bits == 11
    runner.train()
    for name, blocks in space.stage_blocks.items():
        path = Path(digits_config.work_dir, f'mask_{name}.json')
        assert Mask.from_file(path).stage_blocks == blocks
        assert Mask.from_file(path) == getattr(runner.model, name).mask


def test_modules_without_attention_take_no_part(digits_config, build_runner):
    digits_config.model.backbone.attention = None
    digits_config.model.neck = dict(type='MaskedNeck')
    assert list(SearchSpace(build_runner(digits_config).model).modules) == ['neck']


def test_a_model_without_masks_is_refused_before_training(digits_config, build_runner):
    digits_config.model.backbone.attention = None
    runner = build_runner(digits_config)
    with pytest.raises(EANError, match='nothing to search'):
        runner.train()
    assert runner.iter == 0


def test_own_loader_evaluator_and_fraction(digits_config, build_runner):
    hook = digits_config.custom_hooks[2]
    hook.dataloader = digits_config.val_dataloader
    hook.evaluator = dict(type='FixedMetric')
    hook.reward = dict(metric='fixed/value', unit='fraction', sparsity_weight=10.0)
    digits_config.val_dataloader = None
    digits_config.val_cfg = None
    digits_config.val_evaluator = None
    build_runner(digits_config).train()
    entry = history(digits_config.work_dir)[0]['masks'][0]
    assert entry['metric'] == 50.0
    assert entry['reward'] == pytest.approx(50.0 + 10 * entry['sparsity'])


@pytest.mark.parametrize(
    'value, metric, message',
    [
        (float('nan'), 'fixed/value', 'fixed/value is nan'),
        (float('inf'), 'fixed/value', 'fixed/value is inf'),
        ([0.5, 0.6], 'fixed/value', 'not a number'),
        (0.5, 'mIoU', "reports no 'mIoU'; set the reward's metric to one of fixed"),
    ],
)
def test_metrics_that_are_not_numbers_stop_the_search_with_a_line(
    digits_config, build_runner, value, metric, message
):
    digits_config.val_evaluator = dict(type='FixedMetric', value=value)
    digits_config.custom_hooks[2].reward = dict(metric=metric)
    with pytest.raises(EANError, match=message):
        build_runner(digits_config).train()
    assert not Path(digits_config.work_dir, 'mask_backbone.json').exists()


@pytest.mark.parametrize(
    'attention, described',
    [
        (dict(type=SEAttention, ratio=2), dict(type='SEAttention', ratio=2)),
        (SEAttention(16), dict(type='SEAttention')),
    ],
    ids=['class', 'module'],
)
def test_every_way_to_name_an_attention_fits_a_mask_file(attention, described):
    neck = MaskedNeck()
    neck.attention = attention
    facts = SearchSpace(nn.Sequential(neck)).describe()['0']
    assert facts['attention'] == described
    json.dumps(facts)


def test_of_equal_rewards_the_first_mask_is_the_best_all_along(
    digits_config, build_runner
):
    digits_config.val_evaluator = dict(type='FixedMetric')
    digits_config.custom_hooks[2].reward = dict(
        metric='fixed/value', unit='fraction', sparsity_weight=0.0
    )
    build_runner(digits_config).train()
    records = history(digits_config.work_dir)
    first = records[0]['masks'][0]['mask']
    assert all(record['best']['mask'] == first for record in records)
    mask = Mask.from_file(f'{digits_config.work_dir}/mask_backbone.json')
    assert str(mask) == first['backbone']


def test_unknown_hyperparameters_are_refused_before_training(
    digits_config, build_runner
):
    digits_config.custom_hooks[2].searcher.temprature = 1.0
    runner = build_runner(digits_config)
    with pytest.raises(EANError, match='unknown search hyperparameter'):
        runner.train()
    assert runner.iter == 0


def test_a_second_search_in_a_work_dir_keeps_the_first(digits_config, build_runner):
    build_runner(digits_config).train()
    first = Path(digits_config.work_dir, 'search/history.jsonl').read_text()
    digits_config.randomness = dict(seed=1)
    build_runner(digits_config).train()
    old = Path(digits_config.work_dir, 'search/history.jsonl.old1').read_text()
    assert old == first
    assert Path(digits_config.work_dir, 'search/history.jsonl').read_text() != first


@pytest.mark.parametrize(
    'searcher',
    [
        dict(type='RandomSearcher', num_steps=2, preset=None, seed=7),
        dict(type='OptunaSearcher', sampler='tpe', num_steps=2),
        dict(type='OptunaSearcher', sampler='nsgaii', num_steps=2),
        dict(type='RLController', num_steps=2),
    ],
    ids=lambda searcher: searcher.get('sampler', searcher['type']),
)
def test_every_searcher_is_named_in_the_config(digits_config, build_runner, searcher):
    if searcher['type'] == 'OptunaSearcher':
        pytest.importorskip('optuna')
    digits_config.custom_hooks[2].searcher = ConfigDict(searcher)
    build_runner(digits_config).train()
    records = history(digits_config.work_dir)
    assert len(records) == 3
    best = max(entry['reward'] for record in records for entry in record['masks'])
    mask = Mask.from_file(f'{digits_config.work_dir}/mask_backbone.json')
    assert mask.info['reward'] == pytest.approx(best, abs=1e-4)
    assert mask.info['found_by']['searcher'] == searcher['type']
    assert mask.info['found_by']['seed'] == searcher.get('seed', 0)
