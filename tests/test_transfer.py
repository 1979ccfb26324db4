"""Weights and masks carry from classification to detection and segmentation."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import PretrainedInit
from mmengine.registry import DATASETS, MODELS, init_default_scope

from ean_mm import EANResNet

SE = dict(type='SEAttention')
SMALL = dict(base_channels=8, stem_channels=8, out_indices=(0, 1, 2, 3))


def randomize(model):
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point():
            with torch.no_grad():
                tensor.uniform_(0.5, 1.5) if 'var' in name else tensor.normal_(0, 0.2)
    model.eval()
    return model


@pytest.fixture
def log(tmp_path):
    """Read what mmengine's current logger has written."""
    path = tmp_path / 'current.log'
    MMLogger.get_instance(tmp_path.name, log_file=str(path))
    return path.read_text


def test_a_plain_checkpoint_says_in_one_line_that_attention_is_missing(tmp_path, log):
    plain = randomize(EANResNet(18, **SMALL))
    torch.save(plain.state_dict(), tmp_path / 'plain.pth')
    model = EANResNet(
        18, attention=SE, mask='10-11-01-01', pretrained=str(tmp_path / 'plain.pth'),
        **SMALL)  # fmt: skip
    start = model.attentions[0].fc1.weight.clone()
    model.init_weights()
    about = [line for line in log().splitlines() if 'attention weights' in line]
    assert len(about) == 1
    assert 'EANResNet-18: 16 of 16 attention weights are not in the chec' in about[0]
    assert 'missing keys' not in log()
    assert torch.equal(model.layer4[1].conv2.weight, plain.layer4[1].conv2.weight)
    assert torch.equal(model.attentions[0].fc1.weight, start)


def test_other_missing_weights_are_still_named(tmp_path, log):
    weights = EANResNet(18, **SMALL).state_dict()
    del weights['layer2.0.conv1.weight']
    torch.save(weights, tmp_path / 'torn.pth')
    model = EANResNet(
        18, attention=SE, pretrained=str(tmp_path / 'torn.pth'), **SMALL)  # fmt: skip
    model.init_weights()
    assert 'missing keys in source state_dict: layer2.0.conv1.weight\n' in log()


def test_only_the_next_checkpoint_may_lack_attention(tmp_path):
    plain = EANResNet(18, **SMALL).state_dict()
    model = EANResNet(18, attention=SE, **SMALL)
    with pytest.raises(RuntimeError, match='attentions.0.fc1.weight'):
        model.load_state_dict(plain)
    model.expect_missing_attention()
    model.load_state_dict(plain)
    with pytest.raises(RuntimeError, match='attentions.0.fc1.weight'):
        model.load_state_dict(plain)


@pytest.mark.parametrize('form', ['dict', 'class', 'list', 'list of more'])
def test_a_classification_checkpoint_brings_its_attention(tmp_path, log, form):
    init_default_scope('mmpretrain')
    backbone = dict(type='EANResNet', depth=18, attention=SE, **SMALL)
    head = dict(type='LinearClsHead', num_classes=2, in_channels=64)
    classifier = MODELS.build(
        dict(type='ImageClassifier', backbone=backbone, head=head)
    )
    randomize(classifier)
    torch.save(dict(state_dict=classifier.state_dict()), tmp_path / 'ean.pth')
    init_cfg = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'ean.pth'), prefix='backbone.'
    )
    if form == 'class':
        init_cfg['type'] = PretrainedInit
    elif form == 'list':
        init_cfg = [init_cfg]
    elif form == 'list of more':
        init_cfg = [dict(type='Kaiming', layer='Conv2d'), init_cfg]
    init_default_scope('mmdet')
    transferred = MODELS.build(dict(backbone, init_cfg=init_cfg))
    transferred.init_weights()
    assert 'missing' not in log() and 'attention weights' not in log()
    for name, value in classifier.backbone.state_dict().items():
        assert torch.equal(transferred.state_dict()[name], value), name


def test_attention_that_is_missing_starts_as_built_beside_other_inits(tmp_path):
    torch.save(EANResNet(18, **SMALL).state_dict(), tmp_path / 'plain.pth')
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'plain.pth'))
    model = EANResNet(
        18, attention=dict(SE, init='identity'),
        init_cfg=[dict(type='Kaiming', layer='Conv2d'), pretrained],
        **SMALL)  # fmt: skip
    start = copy.deepcopy(model.attentions.state_dict())
    model.init_weights()
    for name, value in model.attentions.state_dict().items():
        assert torch.equal(value, start[name]), name


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(style='caffe'),
        dict(deep_stem=True, avg_down=True),
        dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
    ],
    ids=['pytorch', 'caffe', 'deep stem', 'dilated'],
)
@pytest.mark.parametrize('depth', [18, 50])
@pytest.mark.parametrize('toolbox', ['mmdet', 'mmseg', 'mmpretrain'])
def test_without_bits_the_features_are_the_toolboxes_own(toolbox, depth, options):
    backbones = pytest.importorskip(f'{toolbox}.models.backbones')
    kwargs = dict(depth=depth, **SMALL, **options)
    theirs = randomize(backbones.ResNet(**kwargs))
    ours = EANResNet(attention=SE, mask='none', **kwargs).eval()
    ours.expect_missing_attention()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 64, 96)
    for a, b in zip(ours(x), theirs(x)):
        torch.testing.assert_close(a, b)


@pytest.fixture
def cells(tmp_path):
    """A data set like BCCD, in which one box has no area."""
    cv2 = pytest.importorskip('cv2')
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (tmp_path / folder).mkdir(parents=True)
    image = np.random.default_rng(0).integers(256, size=(96, 128, 3))
    cv2.imwrite(str(tmp_path / 'JPEGImages/0.jpg'), image)
    boxes = [('WBC', 20, 20, 80, 90), ('RBC', 60, 30, 60, 30)]
    objects = ''.join(
        f'<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>'
        f'<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>'
        for name, x1, y1, x2, y2 in boxes
    )
    (tmp_path / 'Annotations/0.xml').write_text(
        '<annotation><size><width>128</width><height>96</height></size>'
        f'{objects}</annotation>'
    )
    for split in ('train', 'val'):
        (tmp_path / f'ImageSets/Main/{split}.txt').write_text('0\n')
    return tmp_path


@pytest.mark.parametrize('poisoned', [False, True])
def test_boxes_without_area_do_not_poison_the_loss(root, cells, poisoned):
    pytest.importorskip('mmdet')
    cfg = Config.fromfile(root / 'configs/ean_det/retinanet_r18_fpn_bccd.py')
    init_default_scope('mmdet')
    images = cfg.train_dataloader.dataset
    images.data_root = str(cells)
    if poisoned:  # what happens without the config's filter
        del images.filter_cfg['bbox_min_size']
    item = DATASETS.build(images)[0]
    model = MODELS.build(cfg.model)
    data = dict(inputs=[item['inputs']] * 2, data_samples=[item['data_samples']] * 2)
    losses = model(**model.data_preprocessor(data, True), mode='loss')
    loss, _ = model.parse_losses(losses)
    assert bool(loss.isfinite()) != poisoned


def test_attention_can_have_a_learning_rate_of_its_own(root):
    from mmengine.optim import build_optim_wrapper

    readme = (root / 'configs/README.md').read_text()
    example = readme.split('```python\n')[1].split('```')[0]
    cfg = Config.fromstring(example, '.py')
    init_default_scope('mmdet')
    model = torch.nn.Module()
    model.backbone = EANResNet(18, attention=SE, **SMALL)
    cfg.optim_wrapper.optimizer = dict(type='SGD', lr=0.02)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    rates = {
        name: group['lr'] for (name, _), group in zip(model.named_parameters(), groups)
    }
    for name, rate in rates.items():
        expected = 0.2 if name.startswith('backbone.attentions.') else 0.02
        assert rate == pytest.approx(expected), name
