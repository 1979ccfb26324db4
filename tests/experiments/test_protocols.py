"""The trainings behind the tables: their schedules, images and networks."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from ean_mm import Mask
from ean_mm.models.attention import SGEAttention
from studies.ranking_table import sampled_masks
from studies.results import Results
from studies.run import RESULT_KEYS
from studies.table import Table, random_masks


def test_random_masks_are_as_many_as_there_can_be():
    mask = Mask.parse('10-00', (2, 2))
    assert sorted(map(str, random_masks(mask, 5, seed=0))) == [
        '00-01', '00-10', '01-00']  # fmt: skip
    assert random_masks(Mask.parse('all', (2, 2)), 3, seed=0) == []
    large = Mask.parse('101-011-100', (3, 3, 3))
    assert random_masks(large, 3, 0) == random_masks(large, 3, 0)
    assert random_masks(large, 3, 0) != random_masks(large, 3, 1)


def test_sampled_masks_have_every_number_of_bits():
    masks = sampled_masks(Mask.parse('all', (2, 2)), seed=0)
    numbers = [next(masks).num_connections for _ in range(1000)]
    assert np.bincount(numbers).min() > 150


def test_mini_is_a_short_form_of_the_config():
    table = Table('mini')
    run = table.run('ResNet-20', 'DIA', 'searched mask', 1, '110-010-001')
    cfg = run.cfg
    assert cfg.train_cfg.max_epochs == 20
    assert cfg.param_scheduler.milestones == [10, 15]  # 81 and 122 of 164
    assert cfg.train_dataloader.dataset.num_per_class == 1000
    assert cfg.test_dataloader.dataset.type == 'CustomDataset'  # all test images
    assert cfg.val_dataloader is None
    assert cfg.model.backbone.attention == dict(type='DIAAttention', ratio=4)

    search = table.run('ResNet-20', 'DIA', 'search', 1).cfg
    held_out, trained = search.val_dataloader.dataset, search.train_dataloader.dataset
    part = {k: v for k, v in trained.dataset.items() if k != 'dataset'}
    assert part == {k: v for k, v in held_out.dataset.items() if k != 'dataset'}
    assert part['held_out'] and part['num_per_class'] == 1000
    assert (trained.held_out, held_out.held_out) == (False, True)
    assert trained.num_per_class == held_out.num_per_class == 100
    assert part == {k: v for k, v in cfg.train_dataloader.dataset.items()
                    if k != 'dataset'}  # fmt: skip


@pytest.mark.parametrize(
    'config, attention, variant, mask',
    [
        ('resnet20_cifar10-10k', 'none', 'plain', 'none'),
        ('resnet20_se_everywhere_cifar10-10k', 'SE', 'shared everywhere', 'all'),
        ('resnet20_se_cifar10-10k', 'SE', 'searched mask', 'masks/resnet20_se_cifar10'),
    ],
)
def test_the_configs_of_10k_images_train_as_mini_does(
    root, config, attention, variant, mask
):
    cfg = Config.fromfile(root / f'configs/ean/{config}.py')
    run = Table('mini').run('ResNet-20', attention, variant, 0, mask).cfg
    for part in ('data_preprocessor', 'optim_wrapper', 'param_scheduler', 'model.head',
                 'model.backbone.attention', 'model.backbone.depth',
                 'train_cfg.max_epochs', 'train_dataloader.batch_size',
                 'train_dataloader.dataset',
                 'test_dataloader.dataset.data_prefix'):  # fmt: skip
        one, other = cfg, run
        for key in part.split('.'):
            one, other = one[key], other[key]
        assert one == other, part
    assert cfg.model.backbone.mask.startswith(mask)


def test_full_has_the_schedule_and_the_images_of_the_config():
    run = Table('full').run('ResNet-164', 'SE', 'shared everywhere', 0, 'all')
    assert run.cfg.train_cfg.max_epochs == 164
    assert run.cfg.param_scheduler.milestones == [81, 122]
    assert run.cfg.train_dataloader.dataset.type == 'CustomDataset'
    init_default_scope('mmpretrain')
    model = MODELS.build(run.cfg.model)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize('network', Table('full').networks)
def test_sge_has_channels_to_compare_in_a_group(network):
    run = Table('full').run(network, 'SGE', 'shared everywhere', 0, 'all')
    init_default_scope('mmpretrain')
    model = MODELS.build(run.cfg.model)
    sizes = {
        module.channels // module.groups
        for module in model.modules()
        if isinstance(module, SGEAttention)
    }
    assert sizes == {4, 8, 16}


@pytest.mark.parametrize('network', Table('transfer').networks)
def test_transfer_takes_a_mask_that_is_given(network, tmp_path):
    table = Table('transfer', [network])
    runs = list(table.runs(Results(tmp_path / 'none.csv')))
    assert len(runs) == len(table) == 3 * 7
    assert [run.variant for run in runs[:7]] == [
        'plain', 'unshared everywhere', 'shared everywhere', 'searched mask',
        'random mask #1', 'random mask #2', 'random mask #3']  # fmt: skip
    assert [run.mask for run in runs[:4]] == ['none', 'all', 'all', '01-10-01-10']
    assert {run.mask.count('1') for run in runs[3:7]} == {4}
    assert runs[0].cfg.model.backbone.attention is None


@pytest.mark.parametrize('network', Table('transfer-mini').networks)
def test_networks_of_half_width_are_the_same_but_narrower(network):
    narrow = Table('transfer-mini', [network]).run(network, 'SE', 'searched mask', 0,
                                                   '01-10-01-10').cfg  # fmt: skip
    name = network.replace(', half width', '')
    wide = Table('transfer', [name]).run(name, 'SE', 'searched mask', 0,
                                         '01-10-01-10').cfg  # fmt: skip
    for key in set(RESULT_KEYS) - {'model'}:
        assert narrow.get(key) == wide.get(key), key
    init_default_scope(narrow.default_scope)
    sizes = [
        {
            key: value.shape
            for key, value in MODELS.build(cfg.model).state_dict().items()
        }
        for cfg in (narrow, wide)
    ]
    assert sizes[0].keys() == sizes[1].keys()
    ratios = {
        a[0] / b[0]
        for key in sizes[0]
        if key.startswith('backbone') and (a := sizes[0][key]) and (b := sizes[1][key])
    }
    assert ratios == {0.5}
