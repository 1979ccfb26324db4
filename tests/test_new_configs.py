"""``python -m ean_mm new``: the configs that it writes, and what they do."""

import json
from pathlib import Path

import pytest
import torch
from digit_images import write_digits
from mmengine.registry import DATASETS, METRICS, MODELS, init_default_scope
from mmpretrain import ImageClassificationInferencer
from tiny_detector import write_detector

from ean_mm import Mask
from ean_mm.__main__ import main
from ean_mm.launch import load_config

DATA = Path(__file__).parents[1] / 'data'
TINY = (
    'model.backbone.base_channels=4',
    'model.backbone.stem_channels=4',
    'model.head.in_channels=16',
    'train_cfg.max_epochs=1',
    'default_hooks.checkpoint.interval=1',
    'train_dataloader.num_workers=0',
    'val_dataloader.num_workers=0',
    'log_level=WARNING',
)


@pytest.fixture
def new(tmp_path, monkeypatch, capsys):
    """Run the command; return its exit status, its output and its errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = main(['new', *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def images_of(cfg, loader):
    """The paths of a loader's images."""
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(cfg[loader].dataset)
    return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]


def test_both_configs_run_as_they_are_but_shorter(new, tool, tmp_path):
    write_digits(tmp_path / 'digits', 10)
    status, output, _ = new('--data', 'digits')
    assert status == 0 and '100 training images in 10 classes, of 32 pixels' in output
    commands = [line.split() for line in output.splitlines() if '    python' in line]
    (_, train, search), effects, (*_, config) = commands
    assert Path(train).samefile(Path(__file__).parents[1] / 'tools/train.py')
    shorter = ('custom_hooks.1.evaluation.budget=2',
               'custom_hooks.1.searcher.num_steps=1')  # fmt: skip
    status, _ = tool('train.py', search, '--cfg-options', *TINY, *shorter)
    assert status == 0
    assert main(effects[3:]) == 0  # of python -m ean_mm
    assert tool('train.py', config, '--cfg-options', *TINY)[0] == 0
    found = Mask.from_file(Path(effects[-1], 'mask_backbone.json'))
    checkpoint = 'work_dirs/resnet20_digits_se/epoch_1.pth'
    meta = torch.load(checkpoint, weights_only=True)
    assert meta['meta']['ean_mm']['masks'] == dict(backbone=str(found))
    dumped = str(Path(checkpoint).with_name(config))
    classify = ImageClassificationInferencer(dumped, pretrained=checkpoint)
    image = next(Path('digits').glob('*/*.png'))
    assert 0 <= classify(str(image))[0]['pred_label'] < 10


def test_a_supernet_is_searched_where_that_is_asked_for(new, tool, tmp_path):
    write_digits(tmp_path / 'digits', 10)
    assert new('--data', 'digits', '--search', 'supernet', '--attention', 'dia')[0] == 0
    status, _ = tool(
        'train.py', 'resnet20_digits_dia_search.py', '--cfg-options', *TINY,
        'custom_hooks.2.searcher.num_steps=2')  # fmt: skip
    assert status == 0
    assert Path('work_dirs/resnet20_digits_dia_search/mask_backbone.json').exists()


def test_no_image_is_on_two_sides(new, tmp_path):
    write_digits(tmp_path / 'digits', 20)
    new('--data', 'digits')
    train = load_config('resnet20_digits_se.py', None, None)
    search = load_config('resnet20_digits_se_search.py', None, None)
    test, reward = (
        images_of(train, 'test_dataloader'),
        images_of(search, 'val_dataloader'),
    )
    trained = images_of(search, 'train_dataloader')
    assert (len(test), len(reward), len(trained)) == (40, 30, 130)
    assert len({*test, *reward, *trained}) == 200
    assert sorted(images_of(train, 'train_dataloader')) == sorted(reward + trained)


def test_test_images_that_are_there_are_taken(new, tmp_path):
    write_digits(tmp_path / 'digits/train', 20)
    write_digits(tmp_path / 'digits/val', 5)
    new('--data', 'digits')
    train = load_config('resnet20_digits_se.py', None, None)
    search = load_config('resnet20_digits_se_search.py', None, None)
    assert len(images_of(train, 'train_dataloader')) == 200
    for loader in ('val_dataloader', 'test_dataloader'):
        images = images_of(train, loader)
        assert len(images) == 50 and all('digits/val' in path for path in images)
    assert len(images_of(search, 'val_dataloader')) == 40
    assert all('digits/train' in path for path in images_of(search, 'val_dataloader'))


def test_what_the_folder_has_is_filled_in(new, tmp_path):
    write_digits(tmp_path / 'digits', 10, classes=3, size=140)
    new('--data', 'digits', '--network', 'resnet34', '--attention', 'sge')
    cfg = load_config('resnet34_digits_sge.py', {'model.backbone.mask': 'all'}, None)
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == 3
    assert tuple(cfg.model.head.topk) == tuple(cfg.val_evaluator.topk) == (1,)
    init_default_scope('mmpretrain')
    sample = DATASETS.build(cfg.train_dataloader.dataset)[0]
    assert sample['inputs'].shape == (3, 128, 128)
    assert DATASETS.build(cfg.val_dataloader.dataset)[0]['inputs'].shape[1:] == (
        128,
        128,
    )
    assert MODELS.build(cfg.model).backbone.mask.stage_blocks == (3, 4, 6, 3)


def test_a_plain_checkpoint_is_where_the_backbone_starts_from(new, tmp_path):
    write_digits(tmp_path / 'digits', 10)
    plain = MODELS.build(dict(type='mmpretrain.ResNet', depth=18))
    weights = {f'backbone.{k}': v for k, v in plain.state_dict().items()}
    torch.save(dict(state_dict=weights), tmp_path / 'plain.pth')
    assert new('--data', 'digits', '--network', 'resnet18',
               '--checkpoint', 'plain.pth')[0] == 0  # fmt: skip
    cfg = load_config('resnet18_digits_se.py', {'model.backbone.mask': 'all'}, None)
    init_default_scope('mmpretrain')
    model = MODELS.build(cfg.model)
    model.init_weights()
    assert torch.equal(model.backbone.conv1.weight, plain.conv1.weight)
    assert cfg.model.backbone.attention.init == 'identity'


def test_a_classifier_that_is_inherited_gets_the_images(new, tool, tmp_path):
    write_digits(tmp_path / 'digits/train', 10, classes=3, higher=0)
    write_digits(tmp_path / 'digits/test', 5, classes=3, higher=0)
    (tmp_path / 'plain.py').write_text(
        "_base_ = 'ean_mm::ean/resnet20_se_cifar10.py'\n"
        'model = dict(backbone=dict(base_channels=4, stem_channels=4),\n'
        '             head=dict(in_channels=16))\n'
        'train_cfg = dict(max_epochs=2)\n'
    )
    assert new('--data', 'digits', '--config', 'plain.py', '--attention', 'sge')[0] == 0
    cfg = load_config('plain_digits_sge.py', None, None)
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == 3
    assert all('digits/test' in path for path in images_of(cfg, 'test_dataloader'))
    status, _ = tool(
        'train.py', 'plain_digits_sge_search.py', '--cfg-options', 'log_level=WARNING',
        'custom_hooks.1.searcher.num_steps=1')  # fmt: skip
    assert status == 0
    mask = Mask.from_file('work_dirs/plain_digits_sge_search/mask_backbone.json')
    assert mask.stage_blocks == (3, 3, 3)


def test_a_backbone_of_another_kind_is_wrapped(new, tmp_path):
    write_digits(tmp_path / 'digits', 5, classes=3)
    name = 'mmpretrain::resnext/resnext50-32x4d_8xb32_in1k.py'
    assert new('--data', 'digits', '--config', name)[0] == 0
    stem = 'resnext50-32x4d_8xb32_in1k_digits_se'
    cfg = load_config(f'{stem}_search.py', None, None)
    init_default_scope('mmpretrain')
    backbone = MODELS.build(cfg.model).backbone
    assert cfg.model.backbone.type == 'EANWrapper'
    assert backbone.mask.stage_blocks == (3, 4, 6, 3)


def test_a_detector_is_searched_on_held_out_images(new, tool, tmp_path):
    write_detector(tmp_path)
    assert new('--config', 'detector.py', '--out', 'own')[0] == 0
    status, _ = tool(
        'train.py', 'own/detector_se_search.py', '--cfg-options',
        'custom_hooks.1.searcher.num_steps=1')  # fmt: skip
    assert status == 0
    lines = Path('work_dirs/detector_se_search/search/history.jsonl').read_text()
    masks = json.loads(lines.splitlines()[0])['masks']
    assert len(masks) == 4 and all(0 <= each['metric'] <= 100 for each in masks)
    cfg = load_config('own/detector_se.py', None, None)
    assert cfg.model.backbone.mask.endswith('detector_se_search/mask_backbone.json')


def test_cocos_metric_counts_the_held_out_images_only(new, tmp_path):
    write_detector(tmp_path)
    new('--config', 'detector.py')
    cfg = load_config('detector_se_search.py', None, None)
    init_default_scope('mmdet')
    metric = METRICS.build(cfg.val_evaluator)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    metric.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        sample = dataset[index]['data_samples']
        boxes = sample.gt_instances
        found = dict(bboxes=boxes.bboxes.tensor, labels=boxes.labels,
                     scores=torch.ones(len(boxes)))  # fmt: skip
        metric.process({}, [dict(sample.to_dict(), pred_instances=found)])
    assert len(dataset) == 2 and metric.evaluate(2)['coco/bbox_mAP'] == 1


@pytest.mark.parametrize(
    'name, images, held_out',
    [
        ('ean_det/retinanet_r18_fpn_bccd', 205, 41),
        ('ean_seg/fcn_r18-d8_camvid', 367, 73),
    ],
)
def test_configs_of_toolboxes_are_inherited(
    new, root, tmp_path, name, images, held_out
):
    if not (DATA / name.rpartition('_')[2]).is_dir():
        pytest.skip(f'no data/{name.rpartition("_")[2]} in the checkout')
    (tmp_path / 'data').symlink_to(DATA)
    assert new('--config', root / f'configs/{name}.py')[0] == 0
    stem = f'{Path(name).name}_se'
    cfg = load_config(f'{stem}_search.py', None, None)
    init_default_scope(cfg.default_scope)
    assert len(DATASETS.build(cfg.val_dataloader.dataset)) == held_out
    assert len(DATASETS.build(cfg.train_dataloader.dataset)) == images - held_out
    assert MODELS.build(cfg.model).backbone.mask.num_connections == 8


def test_nothing_is_overwritten(new, tmp_path):
    write_digits(tmp_path / 'digits', 5)
    (tmp_path / 'resnet20_digits_se_search.py').write_text('mine')
    status, _, errors = new('--data', 'digits')
    assert status == 2 and 'resnet20_digits_se_search.py exists' in errors
    assert (tmp_path / 'resnet20_digits_se_search.py').read_text() == 'mine'
    assert not (tmp_path / 'resnet20_digits_se.py').exists()


@pytest.mark.parametrize(
    'arguments, message',
    [
        ([], 'give --data DIR, --config CONFIG or both'),
        (['--data', 'nowhere'], 'there is no folder nowhere'),
        (['--data', 'empty'], 'has no images of two or more classes'),
        (['--data', 'digits/digit 0'], 'has no images of two or more classes'),
        (['--data', 'few'], "class 'digit 0' in few has 4 images"),
        (['--data', 'different'], 'only one of them has digit 2'),
        (['--data', 'broken'], 'can be read'),
        (['--data', 'digits', '--network', 'resnet7'], 'invalid choice'),
        (['--data', 'digits', '--checkpoint', 'no.pth'], 'there is no checkpoint no.p'),
        (['--config', 'nowhere.py'], 'there is no config file nowhere.py'),
        (['--config', 'headless.py'], 'headless.py has no train_dataloader'),
        (['--config', 'bare.py'], 'bare.py has no model.backbone'),
        (['--config', 'other.py', '--checkpoint', 'no.pth'], 'no checkpoint no.pth'),
        (['--config', 'search.py'], 'search.py is a search'),
        (['--config', 'other.py'], 'has no evaluator that a search can be written'),
        (['--config', 'other.py', '--network', 'resnet18'], '--network goes without'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_a_mistake_is_one_line_and_writes_nothing(
    new, root, tmp_path, arguments, message
):
    write_digits(tmp_path / 'digits', 5, classes=2)
    write_digits(tmp_path / 'few', 4, classes=2)
    write_digits(tmp_path / 'different/train', 5, classes=2)
    write_digits(tmp_path / 'different/test', 5, classes=3)
    (tmp_path / 'empty').mkdir()
    for label in 'ab':
        (tmp_path / f'broken/{label}').mkdir(parents=True)
        for i in range(5):
            (tmp_path / f'broken/{label}/{i}.png').write_text('no image')
    (tmp_path / 'headless.py').write_text("model = dict(type='Nothing')")
    (tmp_path / 'bare.py').write_text(
        f"_base_ = '{root}/configs/ean/resnet20_digits.py'\n"
        "model = dict(_delete_=True, type='Nothing')\n"
    )
    (tmp_path / 'search.py').write_text(
        f"_base_ = '{root}/configs/ean/resnet20_se_search_digits.py'"
    )
    (tmp_path / 'other.py').write_text(
        f"_base_ = '{root}/configs/ean/resnet20_digits.py'\n"
        "val_evaluator = dict(_delete_=True, type='AveragePrecision')\n"
    )
    status, output, errors = new(*arguments)
    assert (status, output) == (2, '')
    assert errors.startswith('error: ') and errors.count('\n') == 1
    assert message in errors
    written = {path.name for path in tmp_path.glob('*.py')}
    assert written == {'headless.py', 'bare.py', 'other.py', 'search.py'}
