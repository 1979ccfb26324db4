"""The command line: what it does."""

import json
from pathlib import Path

import pytest
import torch
from failing import fails

from ean_mm import Mask, launch

CONFIGS = Path(__file__).parents[1] / 'configs/ean'

TINY = [
    'train_cfg.max_epochs=1',
    'train_cfg.val_interval=10',
    'model.backbone.base_channels=4',
    'model.backbone.stem_channels=4',
    'model.head.in_channels=16',
    'model.backbone.mask=110-010-001',
    'log_level=WARNING',
]

# PyTorch 2.11 corrupts memory where channels-last maps have four channels and there is
# one thread; a plain ResNet's training does, too.
WIDE = [
    option.replace('channels=4', 'channels=8').replace('=16', '=32') for option in TINY
]


@pytest.fixture
def config(root):
    return lambda name: root / 'configs/ean' / f'{name}.py'


def test_train_then_test(tool, config, tmp_path):
    status, _ = tool('train.py', config('resnet20_se_digits'), '--cfg-options', *TINY)
    assert status == 0
    work_dir = tmp_path / 'work_dirs/resnet20_se_digits'
    checkpoint = work_dir / 'epoch_1.pth'
    meta = torch.load(checkpoint, weights_only=True)['meta']
    assert meta['ean_mm']['masks'] == dict(backbone='110-010-001')
    status, _ = tool(
        'test.py', config('resnet20_se_digits'), checkpoint,
        '--out', tmp_path / 'predictions.pkl', '--cfg-options', *TINY)  # fmt: skip
    assert status == 0
    results = [json.loads(path.read_text()) for path in work_dir.glob('*/*.json')]
    assert any('accuracy/top1' in result for result in results)
    assert (tmp_path / 'predictions.pkl').exists()


def scores(work_dir):
    """The results of the latest run, its times aside."""
    newest = max(Path(work_dir).glob('*/*.json'), key=lambda path: path.stat().st_mtime)
    return {k: v for k, v in json.loads(newest.read_text()).items() if 'time' not in k}


def test_deploy_then_test(tool, config, tmp_path):
    name = 'resnet20_se_digits'
    options = ('--cfg-options', *WIDE)
    assert tool('train.py', config(name), *options)[0] == 0
    work_dir = tmp_path / 'work_dirs' / name
    checkpoint = work_dir / 'epoch_1.pth'
    assert tool('test.py', config(name), checkpoint, *options)[0] == 0
    deploy = ('model_converters/deploy.py', config(name), checkpoint)
    status, out = tool(*deploy, 'small/net.pth', '--image-size', '32', *options)
    assert status == 0 and 'relative difference of the outputs' in out
    content = torch.load('small/net.pth', weights_only=True)
    meta = content['meta']['ean_mm']
    assert meta == dict(masks=dict(backbone='110-010-001'), deployed=True)
    assert not any('bn' in key for key in content['state_dict'])

    assert tool('test.py', 'small/net.py', 'small/net.pth', '--work-dir', 'w')[0] == 0
    assert scores('w') == scores(work_dir)
    # neither form of the weights goes into the other form of the network
    fails(tool('test.py', config(name), 'small/net.pth', *options), 'is deployed; load')
    fails(tool('test.py', 'small/net.py', checkpoint), 'is not deployed; convert it')
    fails(tool('train.py', 'small/net.py', '--work-dir', 't'), 'cannot be trained')
    fails(tool('model_converters/deploy.py', 'small/net.py', 'small/net.pth', 'x.pth'),
          'deployed already')  # fmt: skip
    fails(tool(*deploy, 'x.pt', *options), 'must end in .pth')
    fails(tool(*deploy, 'x.pth', '--mask', '101', *options), 'mask')
    assert not Path('x.pth').exists()


def test_search_with_channels_last(tool, config, tmp_path):
    status, _ = tool(
        'train.py', config('resnet20_se_search_digits'), '--channels-last',
        '--cfg-options', *WIDE[:-2], 'custom_hooks.2.searcher.num_steps=2')  # fmt: skip
    assert status == 0
    mask = tmp_path / 'work_dirs/resnet20_se_search_digits/mask_backbone.json'
    # and the retraining config takes the file
    status, _ = tool(
        'train.py', config('resnet20_se_digits'), '--cfg-options', *WIDE[:-2],
        f'model.backbone.mask={mask}', '--no-validate')  # fmt: skip
    assert status == 0
    checkpoint = tmp_path / 'work_dirs/resnet20_se_digits/epoch_1.pth'
    meta = torch.load(checkpoint, weights_only=True)['meta']
    assert meta['ean_mm']['masks'] == dict(backbone=str(Mask.from_file(mask)))


def test_data_root_reaches_every_data_set(tool, config, tmp_path):
    """A search on a folder of images in the layout of ImageNet."""
    cv2 = pytest.importorskip('cv2')
    rng = torch.Generator().manual_seed(0)
    for split, number in (('train', 12), ('val', 2)):
        for label in ('cat', 'dog'):
            folder = tmp_path / 'images' / split / label
            folder.mkdir(parents=True)
            for i in range(number):
                image = torch.randint(256, (40, 48, 3), generator=rng)
                cv2.imwrite(str(folder / f'{i}.jpg'), image.numpy())
    status, _ = tool(
        'train.py', config('resnet50_se_search'), '--data-root', tmp_path / 'images',
        '--cfg-options', 'train_cfg.max_epochs=1', 'model.backbone.base_channels=4',
        'model.backbone.stem_channels=4', 'model.head.in_channels=128',
        'train_dataloader.batch_size=4', 'train_dataloader.num_workers=0',
        'val_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
        'val_dataloader.persistent_workers=False',
        'train_dataloader.dataset.num_per_class=3',
        'val_dataloader.dataset.num_per_class=3',
        'custom_hooks.2.searcher.num_steps=2')  # fmt: skip
    assert status == 0
    mask = tmp_path / 'work_dirs/resnet50_se_search/mask_backbone.json'
    assert Mask.from_file(mask).stage_blocks == (3, 4, 6, 3)


def test_resume_with_nothing_to_resume_uses_load_from(tool, config, tmp_path):
    arguments = [config('resnet20_se_digits'), '--cfg-options', *TINY]
    tool('train.py', *arguments)
    source = tmp_path / 'work_dirs/resnet20_se_digits/epoch_1.pth'
    trained = torch.load(source, weights_only=True)['state_dict']
    arguments += [f'load_from={source}', 'optim_wrapper.optimizer.lr=0.0']
    status, out = tool('train.py', '--resume', '--work-dir', tmp_path / 'new',
                       *arguments)  # fmt: skip
    assert status == 0 and 'no checkpoint to resume from' in out
    weights = torch.load(tmp_path / 'new/epoch_1.pth', weights_only=True)['state_dict']
    key = 'backbone.layer3.2.conv2.weight'
    assert torch.equal(weights[key], trained[key])


def test_the_learning_rate_is_scaled_with_the_batch_size(tool, config, capsys):
    options = [*TINY, 'auto_scale_lr.base_batch_size=128', 'log_level=INFO']
    status, out = tool('train.py', config('resnet20_se_digits'), '--auto-scale-lr',
                       '--cfg-options', *options)  # fmt: skip
    assert status == 0 and 'Scaling the original LR by 0.5' in out


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*_cifar100.py')) + sorted(
    CONFIGS.glob('*_download*.py')), ids=lambda path: path.stem)  # fmt: skip
def test_data_sets_that_download_themselves_need_no_folder(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = launch.load_config(str(path), None, None)
    launch.check(cfg, ('train_dataloader', 'val_dataloader', 'test_dataloader'))


def test_data_root_reaches_the_evaluators_annotations():
    cfg = launch.load_config(
        'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', None, '/x'
    )
    assert cfg.val_dataloader.dataset.data_root == '/x'
    assert cfg.val_evaluator.ann_file == '/x/annotations/instances_val2017.json'


def test_a_mask_is_drawn_into_a_new_folder(tool, tmp_path):
    path = tmp_path / 'mask.json'
    for attention in ('"SE"', 'null', '{"type": "SEAttention"}'):
        facts = f'"mask": "10-11", "stage_blocks": [2, 2], "attention": {attention}'
        path.write_text(f'{{{facts}}}')
        target = tmp_path / 'new/mask.png'
        assert tool('visualization/draw_mask.py', path, target)[0] == 0
        assert target.stat().st_size > 1000
    fails(tool('visualization/draw_mask.py', path, 'x.foo'), 'name a .png, .svg or')


@pytest.mark.slow
def test_the_demo_reports_what_it_did(tool, tmp_path):
    status, out = tool(
        'demo.py', '--work-dir', 'demo', '--cfg-options',
        'custom_hooks.1.evaluation.budget=15',
        'custom_hooks.1.searcher.num_steps=2')  # fmt: skip
    assert status == 0
    mask = Mask.from_file(tmp_path / 'demo/mask_backbone.json')
    for path in ('search_report.html', 'effects.png', 'mask_backbone.json'):
        path = f'demo/{path}'
        assert (tmp_path / path).exists() and path in out
    for word in ('mask search', 'stage 1  block 1', f'recommended mask      {mask}',
                 'Recommended: attention', 'ean_mm new --data DIR'):  # fmt: skip
        assert word in out
