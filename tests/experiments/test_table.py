"""Tables of trained networks: what is run, and what is kept."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS
from tables import CSV, OPTIONS, SEARCH_OPTIONS, TABLE, percents, read_rows, rows_of

from studies.results import Results
from studies.scheduler import due
from studies.table import Table


def test_every_run_has_a_row(folder):
    rows = read_rows()
    expected = ['plain', 'search', 'unshared everywhere', 'shared everywhere',
                'searched mask', 'random mask #1', 'random mask #2']  # fmt: skip
    assert [row['variant'] for row in rows] == expected * 2
    assert [row['seed'] for row in rows] == ['0'] * 7 + ['1'] * 7
    assert len({row['config_hash'] for row in rows}) == 14
    for row in rows:
        searches = row['variant'] == 'search'
        images = (row['train_images'], row['test_images'])
        assert images == (('1137', '300') if searches else ('1437', '360'))
        assert row['attention'] == ('none' if row['variant'] == 'plain' else 'SE')
        # batches of 64
        assert row['epochs'] == '1' and float(row['train_seconds']) > 0
        assert row['iterations'] == ('18' if searches else '23')
        if not torch.cuda.is_available():
            capability = torch.backends.cpu.get_cpu_capability()
            assert row['machine'].endswith(f', {capability}')


def test_each_seed_has_its_own_search_and_random_masks_like_it(folder):
    rows = read_rows()
    for seed in (0, 1):
        (search,), (searched,) = (
            rows_of(rows, variant, seed) for variant in ('search', 'searched mask')
        )
        written = folder / 'runs' / search['config_hash'] / 'mask_backbone.json'
        assert json.loads(written.read_text())['mask'] == search['mask']
        masks = [searched['mask']]
        masks += [row['mask'] for row in rows_of(rows, 'random mask', seed)]
        assert masks[0] == search['mask'] and len(set(masks)) == 3
        assert len({mask.count('1') for mask in masks}) == 1


def test_the_accuracy_is_that_of_the_checkpoint_on_the_test_set(folder):
    row = rows_of(read_rows(), 'searched mask', 0)[0]
    run = folder / 'runs' / row['config_hash']
    (config,) = run.glob('*.py')
    cfg = Config.fromfile(config)
    assert cfg.model.backbone.mask == row['mask'] and cfg.randomness == {'seed': 0}
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    weights = torch.load(run / 'epoch_1.pth', weights_only=True)['state_dict']
    model.load_state_dict(weights)
    test_set = DATASETS.build(cfg.test_dataloader.dataset)
    images = torch.stack([item['inputs'] for item in test_set])
    labels = torch.cat([item['data_samples'].gt_label for item in test_set])
    with torch.no_grad():
        scores = model.eval()((images - 127.5) / 127.5, mode='tensor')
    predicted = scores.argmax(1)
    accuracy = 100 * (predicted == labels).float().mean()
    # at most one of 360 images otherwise
    assert float(row['percent']) == pytest.approx(float(accuracy), abs=0.3)


def test_parameters_are_those_in_use(folder):
    rows = read_rows()
    (plain,) = {int(row['parameters']) for row in rows_of(rows, 'plain')}
    channels = (8, 16, 32)
    module = [c * (c // 4) * 2 + c // 4 + c for c in channels]  # two layers with bias
    for row in rows:
        if row['variant'] == 'plain':
            continue
        stages = row['mask'].split('-')
        shared = 'unshared' not in row['variant']
        uses = [min(stage.count('1'), 1 if shared else 3) for stage in stages]
        extra = sum(use * size for use, size in zip(uses, module))
        assert int(row['parameters']) == plain + extra, row


def test_run_again_trains_nothing(folder, tool, no_training):
    before = CSV.read_bytes()
    status, out = tool(*TABLE)
    assert status == 0 and '| SE | searched mask | 2 |' in out
    assert CSV.read_bytes() == before


@pytest.mark.parametrize(
    'change, number',
    [
        ({}, 0),
        ({'optim_wrapper.optimizer.lr': 0.02}, 8),  # what does not wait for a search
        ({'train_cfg.max_epochs': 2}, 8),
        ({'search': {'custom_hooks.2.reward.sparsity_weight': 1.0}}, 2),
        ({'load_from': 'pretrained.pth'}, 8),
        ({'log_level': 'INFO', 'default_hooks.logger.interval': 1}, 0),
        ({'search': {'auto_scale_lr': dict(enable=True, base_batch_size=512)}}, 2),
        ({'data_root': 'elsewhere'}, 0),
        ({'seeds': (0, 1, 2)}, 4),
    ],
    ids=str,
)
def test_a_changed_config_is_run_again(folder, change, number):
    change = dict(change)
    table = Table(
        'digits', attentions=['SE'], random_masks=2,
        seeds=change.pop('seeds', (0, 1)), data_root=change.pop('data_root', None),
        search_options={**SEARCH_OPTIONS, **change.pop('search', {})},
        options={**OPTIONS, **change})  # fmt: skip
    assert len(list(due(table, Results(CSV), set()))) == number


def test_a_run_under_another_name_takes_the_result_that_is_there(folder):
    """As a searched mask with every bit set does, which is attention everywhere."""
    text = CSV.read_text().replace(',shared everywhere,', ',other,')
    CSV.write_text(text)
    results = Results(CSV)
    table = Table('digits', attentions=['SE'], seeds=(0, 1), random_masks=2,
                  options=OPTIONS, search_options=SEARCH_OPTIONS)  # fmt: skip
    assert list(due(table, results, set())) == []
    new = read_rows()[14:]
    assert [row['variant'] for row in new] == ['shared everywhere'] * 2
    assert percents(new, 'shared everywhere').tolist() == [
        float(row['percent']) for row in rows_of(read_rows(), 'other')
    ]


def test_a_search_that_finds_every_bit_set_is_a_row_for_good(folder, no_training):
    text = CSV.read_text()
    for row in rows_of(read_rows(), 'search'):
        line = next(line for line in text.splitlines() if row['config_hash'] in line)
        text = text.replace(line, line.replace(row['mask'], '111-111-111'))
    CSV.write_text(text)
    table = Table('digits', attentions=['SE'], seeds=(0, 1), random_masks=2,
                  options=OPTIONS, search_options=SEARCH_OPTIONS)  # fmt: skip
    assert list(due(table, Results(CSV), set())) == []
    after = CSV.read_bytes()
    new = read_rows()[14:]
    assert [row['variant'] for row in new] == ['searched mask'] * 2
    assert list(due(table, Results(CSV), set())) == []
    assert CSV.read_bytes() == after


@pytest.mark.parametrize(
    'variants, expected',
    [
        (['plain', 'shared'], ['plain', 'shared everywhere']),
        (['searched', 'random'], ['search', 'searched mask', 'random mask #1',
                                  'random mask #2']),
        (['random'], ['search', 'random mask #1', 'random mask #2']),
    ],
    ids=str,
)  # fmt: skip
def test_some_of_the_variants(folder, variants, expected):
    table = Table('digits', attentions=['SE'], seeds=[0], random_masks=2,
                  variants=variants, options=OPTIONS,
                  search_options=SEARCH_OPTIONS)  # fmt: skip
    assert [run.variant for run in table.runs(Results(CSV))] == expected
    assert len(table) == len(expected)
    given = Table('transfer', ['FCN-18, CamVid'], variants=variants, seeds=[0, 1])
    runs = [run.variant for run in given.runs(Results('none.csv'))]
    assert 'search' not in runs and len(runs) == len(given)
