"""Every config builds its model and runs it, and names data as its README says."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample

from ean_mm import Mask

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / 'configs/ean').glob('*.py'))
DETECTORS = sorted((ROOT / 'configs/ean_det').glob('*.py'))
SEGMENTORS = sorted((ROOT / 'configs/ean_seg').glob('*.py'))
TRANSFERS = DETECTORS + SEGMENTORS
SEARCHES = [path for path in CONFIGS + TRANSFERS if 'search' in path.stem]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config_builds_and_trains_a_step(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    mask = cfg.model.backbone.mask
    if mask.startswith('work_dirs/'):
        # its search has to run first: that config exists
        search = Path(mask).parent.name
        assert (path.parent / f'{search}.py') in CONFIGS
        cfg.model.backbone.mask = 'all'
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    size = 64 if re.match('resnet(18|50)|mobilenet|convnext', path.stem) else 16
    channels = cfg.model.backbone.get('in_channels', 3)
    inputs = torch.randint(256, (2, channels, size, size), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(label) for label in (1, 2)]
    data = model.data_preprocessor(dict(inputs=inputs, data_samples=samples), True)
    losses = model(**data, mode='loss')
    losses['loss'].backward()
    assert losses['loss'].isfinite()
    attention = re.match(r'[^_]+_(se|sge|dia)(_|$)', path.stem)
    if attention:
        assert model.backbone.attention.type == f'{attention[1].upper()}Attention'
    else:
        assert model.backbone.attention is None
    depth = re.match(r'resnet(\d+)', path.stem)
    assert depth is None or model.backbone.depth == int(depth[1])


def detection_batch(cfg):
    mmdet = pytest.importorskip('mmdet.testing')
    return mmdet.demo_mm_inputs(
        2, image_shapes=[(3, 64, 96)] * 2, num_items=[1, 3], num_classes=3,
        with_mask=cfg.model.type == 'MaskRCNN')  # fmt: skip


def segmentation_batch(cfg):
    structures = pytest.importorskip('mmseg.structures')
    cfg.model.data_preprocessor.size = (64, 96)
    samples = []
    for _ in range(2):
        sample = structures.SegDataSample(metainfo=dict(img_shape=(64, 96)))
        sample.gt_sem_seg = PixelData(data=torch.randint(11, (1, 64, 96)))
        samples.append(sample)
    inputs = [torch.randint(256, (3, 64, 96), dtype=torch.uint8) for _ in samples]
    return dict(inputs=inputs, data_samples=samples)


@pytest.mark.parametrize('path', TRANSFERS, ids=lambda path: path.stem)
def test_detectors_and_segmentors_train_a_step(path):
    cfg = Config.fromfile(path)
    cfg.model.data_preprocessor.pop('batch_augments', None)  # which resize images
    make_batch = detection_batch if path in DETECTORS else segmentation_batch
    data = make_batch(cfg)
    init_default_scope(cfg.default_scope)
    mask = cfg.model.backbone.get('mask', 'all')
    if mask.startswith('work_dirs/'):
        # its search has to run first: that config exists
        assert path.with_name(f'{Path(mask).parent.name}.py') in SEARCHES
        cfg.model.backbone.mask = 'all'
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).train()
    data = model.data_preprocessor(data, True)
    loss, values = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert all(value.isfinite().all() for value in values.values())
    backbone = model.backbone
    if re.search('[-_]r(18|50)[-_]', path.stem):
        assert backbone.deep_stem == (path in SEGMENTORS)
    if 'ean' not in path.stem:
        assert not backbone.attentions
        return
    gradients = [p.grad for p in backbone.attentions.parameters()]
    assert any(g is not None and g.abs().sum() > 0 for g in gradients)
    if 'r50' in path.stem or path.stem.endswith('_coco'):
        attention = re.search(r'-(se|sge|dia)_', path.stem)[1].upper()
        assert type(backbone.attentions[0]).__name__ == f'{attention}Attention'
        assert 'r50' not in path.stem or backbone.mask.num_connections == 9
    else:
        assert all(p.requires_grad for p in backbone.parameters())


@pytest.mark.parametrize('path', SEARCHES, ids=lambda path: path.stem)
def test_search_configs_never_see_the_test_set(path):
    cfg = Config.fromfile(path)
    train, val = cfg.train_dataloader.dataset, cfg.val_dataloader.dataset
    assert (train.held_out, val.held_out) == (False, True)
    for key in ('type', 'num_per_class', 'num_images'):
        assert train.get(key) == val.get(key)
    for key in ('data_root', 'data_prefix', 'split', 'ann_file', 'filter_cfg'):
        assert train.dataset.get(key) == val.dataset.get(key)
    hooks = {hook.type: hook for hook in cfg.custom_hooks}
    if 'by-training' in path.stem:
        assert hooks['EANSearchHook'].evaluation.type == 'TrainedEvaluation'
        assert 'SupernetHook' not in hooks
        return
    assert hooks['EANSearchHook'].searcher.preset == 'paper'
    assert 'SupernetHook' in hooks


@pytest.mark.parametrize('baseline', ['plain', 'block', 'all'])
def test_baselines_are_one_option(baseline):
    options = dict(
        plain={'model.backbone.attention': None},
        block={'model.backbone.share': 'block', 'model.backbone.mask': 'all'},
        all={'model.backbone.mask': 'all'},
    )[baseline]
    cfg = Config.fromfile(ROOT / 'configs/ean/resnet20_se_digits.py')
    cfg.merge_from_dict(options)
    init_default_scope('mmpretrain')
    backbone = MODELS.build(cfg.model).backbone
    plugged = dict(plain=0, block=9, all=9)[baseline]
    assert backbone.mask.num_connections == plugged
    assert len(backbone.attentions) == (0 if baseline == 'plain' else 3)


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'ean_mm/masks').glob('*.json')), ids=lambda path: path.stem
)
def test_shipped_masks_are_of_the_network_in_their_name(path):
    mask = Mask.from_file(path)
    depth, attention = re.match(r'resnet(\d+)_([a-z]+)_', path.stem).groups()
    assert mask.info['network'].endswith(f'-{depth}')
    assert mask.info['attention']['type'] == f'{attention.upper()}Attention'


def test_the_published_masks_ship():
    published = dict(sge='1001011010011011', dia='1100011110010011')
    for name, bits in published.items():
        mask = Mask.parse(f'masks/resnet50_{name}_imagenet.json', (3, 4, 6, 3))
        assert mask == Mask.parse(bits, (3, 4, 6, 3))


def test_the_readmes_config_loads(tmp_path):
    readme = (ROOT / 'README.md').read_text()
    assert not re.search('@[A-Z_]+@', readme)
    blocks = re.findall(r'```python\n(.*?)```', readme, re.S)
    own_model, _ = blocks  # test_model_zoo.py runs the other one
    (tmp_path / 'model.py').write_text(own_model)
    backbone = MODELS.build(Config.fromfile(tmp_path / 'model.py').model.backbone)
    assert str(backbone.mask) == '100-1011-010011-011'
