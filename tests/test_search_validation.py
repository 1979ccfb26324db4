"""A mask is judged as ``runner.val_loop.run()`` judges it, whatever hooks prepare."""

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, METRICS
from searches import judged_masks

from ean_mm import EANError
from ean_mm.search.loop import MaskSearch

EMA = dict(type='EMAHook', momentum=0.05)
MMPRETRAINS = dict(EMA, type='mmpretrain.EMAHook')
RETRIEVER = dict(type='mmpretrain.PrepareProtoBeforeValLoopHook')


@METRICS.register_module()
class NearestLabel(BaseMetric):
    """Share of images whose most similar prototype is of their class.

    mmpretrain's own metrics of retrieval call np.in1d, which numpy 2.4 has no more.
    """

    default_prefix = 'retrieval'
    labels = None
    """of the prototypes; set by the test"""

    def process(self, data_batch, data_samples):
        for sample in data_samples:
            nearest = int(sample['pred_label'][0])
            self.results.append(self.labels[nearest] == int(sample['gt_label']))

    def compute_metrics(self, results):
        return dict(nearest=100 * sum(results) / len(results))


@HOOKS.register_module()
class FlipHook(Hook):
    """Turns the images of every batch upside down while a run validates."""

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        for image in data_batch['inputs']:
            image.copy_(image.flip(1))


@HOOKS.register_module()
class LookingHook(Hook):
    """Only looks at a validation, as those that save the best checkpoint do."""

    seen = 0

    def after_val_epoch(self, runner, metrics=None):
        self.seen += 1


@HOOKS.register_module()
class DimmingHook(Hook):
    """Halves a weight for validation; a hook that nobody knows."""

    def before_val_epoch(self, runner):
        runner.model.head.fc.weight.data[:5] *= 0.5

    def after_val_epoch(self, runner, metrics=None):
        runner.model.head.fc.weight.data[:5] *= 2


def judged(cfg):
    """The masks that a search has judged, with their metrics."""
    return [
        (tuple(entry['mask'].items()), entry['metric'])
        for entry in judged_masks(cfg.work_dir)
    ]


def validated(runner, masks, metric='accuracy/top1'):
    """What the host's own loop says of masks, under all of its hooks."""
    supernet = next(h for h in runner.hooks if type(h).__name__ == 'SupernetHook')
    supernet.before_val_epoch = lambda runner: None  # it would set a mask of its own
    results = []
    for mask in masks:
        for name, bits in mask:
            runner.model.get_submodule(name).set_mask(bits)
        results.append((mask, pytest.approx(runner.val_loop.run()[metric])))
    return results


def from_the_checkpoint(cfg):
    """The config of a search in the supernet that a config has trained."""
    cfg.load_from = f'{cfg.work_dir}/epoch_1.pth'
    cfg.work_dir += '_again'
    cfg.train_cfg.max_epochs = 0
    cfg.param_scheduler = None
    return cfg


def raw_weights(cfg):
    """The weights of a checkpoint that are not averaged: the hook swaps them."""
    averaged = torch.load(f'{cfg.work_dir}/epoch_1.pth', weights_only=True)
    return {
        name.removeprefix('module.'): value
        for name, value in averaged['ema_state_dict'].items()
        if name != 'steps'
    }


@pytest.mark.parametrize(
    'hook, options',
    [
        (EMA, {}),
        (dict(EMA, update_buffers=True), dict(calibration_batches=2)),
        (dict(MMPRETRAINS, evaluate_on_origin=True), {}),
    ],
    ids=['mmengine', 'calibrated', 'mmpretrain'],
)
def test_averaged_weights_are_judged_where_they_are_validated(
    digits_config, build_runner, hook, options
):
    """In the run, by val(), and in the saved checkpoint: three times the same."""
    digits_config.custom_hooks.append(hook)
    digits_config.custom_hooks[2].update(options)
    runner = build_runner(digits_config)
    runner.train()
    masks = judged(digits_config)
    raw = raw_weights(digits_config)
    for name, value in runner.model.state_dict().items():
        assert torch.equal(value, raw[name]), name  # swapped back, statistics too
    if not options:
        assert validated(runner, [mask for mask, _ in masks]) == masks
    build_runner(from_the_checkpoint(digits_config)).train()
    assert judged(digits_config) == masks


def test_masks_are_not_judged_by_weights_that_no_one_validates(
    digits_config, build_runner
):
    """The raw weights give other rewards, so that the test above can fail."""
    digits_config.custom_hooks.append(EMA)
    runner = build_runner(digits_config)
    runner.train()
    masks = judged(digits_config)
    runner._hooks = [h for h in runner.hooks if type(h).__name__ != 'EMAHook']
    assert validated(runner, [mask for mask, _ in masks]) != masks


def test_weights_that_the_checkpoint_does_not_have_are_refused_before_training(
    digits_config, build_runner
):
    digits_config.custom_hooks.append(dict(MMPRETRAINS, evaluate_on_ema=False))
    runner = build_runner(digits_config)
    with pytest.raises(EANError, match='evaluate_on_ema=False'):
        runner.train()
    assert runner.iter == 0


def test_an_error_in_the_search_leaves_the_trained_weights(
    digits_config, build_runner, monkeypatch
):
    def fail(self, resume):
        raise EANError('no')

    monkeypatch.setattr(MaskSearch, 'run', fail)
    digits_config.custom_hooks.append(dict(EMA, update_buffers=True))
    digits_config.custom_hooks[2].calibration_batches = 2
    runner = build_runner(digits_config)
    with pytest.raises(EANError):
        runner.train()
    raw = raw_weights(digits_config)
    for name, value in runner.model.state_dict().items():
        assert torch.equal(value, raw[name]), name


# An EMAHook puts the trained weights back before a hook like DimmingHook undoes what it
# did to the averaged ones: every validation would change them.
@pytest.mark.parametrize('name, others', [('FlipHook', [EMA]), ('DimmingHook', [])])
def test_hooks_that_no_one_knows_hold_while_masks_are_judged(
    digits_config, build_runner, name, others, capsys
):
    digits_config.custom_hooks += [*others, dict(type=name)]
    digits_config.custom_hooks.append(dict(type='LookingHook'))
    digits_config.log_level = 'INFO'
    runner = build_runner(digits_config)
    runner.train()
    out = capsys.readouterr().out
    assert f'Each mask took a pass of its own: {name} prepares every' in out
    looking = next(h for h in runner.hooks if type(h).__name__ == 'LookingHook')
    assert looking.seen == 1  # the epoch's validation, and none of the search
    masks = judged(digits_config)
    assert validated(runner, [mask for mask, _ in masks]) == masks


def test_a_run_without_validation_is_searched_under_its_hooks_all_the_same(
    digits_config, build_runner
):
    hook = digits_config.custom_hooks[2]
    digits_config.custom_hooks += [EMA, dict(type='FlipHook')]
    build_runner(digits_config).train()
    masks = judged(digits_config)
    hook.dataloader, hook.evaluator = (
        digits_config.val_dataloader, digits_config.val_evaluator
    )  # fmt: skip
    for name in ('val_dataloader', 'val_evaluator', 'val_cfg'):
        digits_config[name] = None
    digits_config.work_dir += '_without'
    build_runner(digits_config).train()
    assert judged(digits_config) == masks


def test_calibration_that_hooks_make_impossible_is_refused_before_training(
    digits_config, build_runner
):
    digits_config.custom_hooks.append(dict(type='FlipHook'))
    digits_config.custom_hooks[2].calibration_batches = 2
    runner = build_runner(digits_config)
    with pytest.raises(EANError, match='calibration_batches=2 cannot be kept'):
        runner.train()
    assert runner.iter == 0


@pytest.mark.slow
def test_a_retriever_is_judged_with_the_prototypes_of_each_mask(
    digits_config, build_runner, monkeypatch
):
    model = digits_config.model
    prototypes = dict(
        dataset=dict(
            type='HeldOutSplit',
            num_per_class=2,
            seed=3,
            held_out=True,
            dataset=digits_config.val_dataloader.dataset.dataset,
        ),
        batch_size=20,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    digits_config.model = dict(
        type='mmpretrain.ImageToImageRetriever',
        image_encoder=[model.backbone, model.neck],
        head=model.head,
        prototype=prototypes,
        data_preprocessor=digits_config.pop('data_preprocessor'),
    )
    digits_config.custom_hooks.append(RETRIEVER)
    digits_config.val_evaluator = dict(type='NearestLabel')
    digits_config.custom_hooks[2].reward = dict(metric='retrieval/nearest')
    runner = build_runner(digits_config)
    dataset = runner.build_dataloader(prototypes).dataset
    monkeypatch.setattr(NearestLabel, 'labels', list(dataset.get_gt_labels()))
    runner.train()
    masks = judged(digits_config)
    assert len({metric for _, metric in masks}) > 1
    again = validated(runner, [mask for mask, _ in masks], 'retrieval/nearest')
    assert again == masks
