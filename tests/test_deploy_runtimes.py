"""Deployed to OpenVINO and ONNX Runtime: the toolboxes' models predict the same."""

import json
import re
from pathlib import Path

import mmengine
import pytest
import torch
from failing import fails
from mmengine.registry import MODELS, init_default_scope
from mmpretrain import get_model
from sklearn.datasets import load_digits

from ean_mm import launch
from ean_mm.zoo import zoo_entries

ROOT = Path(__file__).parents[1]
NAME = 'resnet20_se_digits'
(DIGITS,) = (entry for entry in zoo_entries() if entry['Name'] == NAME)
SUFFIXES = dict(openvino='.xml', onnx='.onnx')


def require(to):
    pytest.importorskip('openvino' if to == 'openvino' else 'onnxruntime')
    pytest.importorskip('onnxscript')


@pytest.fixture
def predictions(tool):
    """Run tools/test.py; return what it has predicted."""

    def run(config, checkpoint, *options):
        status, _ = tool('test.py', config, checkpoint, '--out', 'out.pkl', *options)
        assert status == 0, status
        return mmengine.load('out.pkl')

    return run


@pytest.fixture
def deploy(tool):
    """Run the tool of the deployment, on few images; return its status and output."""

    def run(*arguments):
        return tool('model_converters/deploy.py', *arguments, '--images', 3)

    return run


@pytest.fixture
def deploy_random(deploy, tmp_path):
    """Deploy a config with random weights; return what was deployed, and the output."""

    def run(text, to):
        config = tmp_path / 'trained.py'
        config.write_text(text)
        trained = config.name, save_random(config, tmp_path / 'trained.pth')
        status, out = deploy(*trained, f'net{SUFFIXES[to]}', '--to', to)
        assert status == 0, status
        return trained, out

    return run


each_runtime = pytest.mark.parametrize(
    'to', ['openvino', pytest.param('onnx', marks=pytest.mark.slow)]
)


@each_runtime
def test_digits_get_the_same_labels(to, deploy, predictions):
    require(to)
    trained = ROOT / DIGITS['Config'], ROOT / DIGITS['Weights']
    target = f'small/net{SUFFIXES[to]}'
    status, out = deploy(*trained, target, '--to', to)
    assert status == 0, status
    (difference,) = re.findall(r'difference of the outputs (\S+)', out)
    assert float(difference) < 1e-4
    assert 'equal labels on 3 test images: 100.0 %' in out and 'the RTI is' in out
    Path('small').rename('moved')  # the config finds the file beside it
    labels = [
        [each['pred_label'] for each in predictions(*files)]
        for files in (trained, ('moved/net.py', 'moved/net.pth'))
    ]
    assert labels[0] == labels[1] and len(labels[0]) == 360
    # the weights in PyTorch are those that the file lacks
    content = torch.load('moved/net.pth', weights_only=True)
    assert content['state_dict'].keys() == {'head.fc.weight', 'head.fc.bias'}
    assert content['meta']['ean_mm'] == dict(
        masks=dict(backbone=str(DIGITS['Metadata']['Mask'])), deployed=True
    )


def test_what_cannot_be_deployed_is_refused(deploy):
    require('openvino')
    require('onnx')
    trained = ROOT / DIGITS['Config'], ROOT / DIGITS['Weights']
    fails(
        deploy(*trained, 'net.pth', '--to', 'openvino'),
        'must end in .xml for --to openvino',
    )
    fails(
        deploy(*trained, 'net.onnx', '--to', 'onnx', '--precision', 'bf16'),
        'has no bf16 on CPUs',
    )
    assert not list(Path().glob('*net*'))


@pytest.mark.slow
@each_runtime
@torch.no_grad()
def test_quantised_digits_are_read_almost_as_well(to, deploy):
    require(to)
    pytest.importorskip('nncf')
    trained = ROOT / DIGITS['Config'], ROOT / DIGITS['Weights']
    status, out = deploy(
        *trained, f'net{SUFFIXES[to]}', '--to', to, '--precision', 'int8',
        '--calibration-images', 50)  # fmt: skip
    assert status == 0, status
    before, after = re.search(
        r'accuracy/top1: (\S+) as trained, (\S+) deployed', out
    ).groups()
    assert float(after) > float(before) - 3
    models = [
        get_model(str(config), pretrained=str(weights))
        for config, weights in (trained, ('net.py', 'net.pth'))
    ]
    images = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1
    for number in (1, 2, 3, 4, 30):  # each shape, as OpenVINO runs them differently
        before, after = (model.backbone(images[:number])[0] for model in models)
        assert (after - before).norm() < 0.3 * before.norm()


def save_random(config, path):
    """Save weights of a config's model with which detectors find something."""
    cfg = launch.load_config(str(config), None, None)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and 'num_batches' not in name:
            with torch.no_grad():
                if 'running_var' in name or '.bn' in name and 'weight' in name:
                    tensor.uniform_(0.5, 1.5)
                elif name == 'bbox_head.retina_cls.bias':
                    tensor.zero_()
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def write_images(folder, sizes):
    cv2 = pytest.importorskip('cv2')
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for number, size in enumerate(sizes):
        image = torch.randint(256, (*size, 3), generator=generator).byte()
        cv2.imwrite(str(folder / f'{number}.png'), image.numpy())


SIZES = [(64, 96), (96, 64), (70, 130), (64, 96)]

BACKBONE = """dict(
    base_channels=8, stem_channels=8, attention=dict(type='SEAttention'),
    mask='10-11-01-10')"""

DETECTOR = f"""
_base_ = '{ROOT}/configs/ean_det/retinanet_r18_fpn_bccd.py'
model = dict(
    backbone={BACKBONE},
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    bbox_head=dict(in_channels=16, feat_channels=16),
    test_cfg=dict(max_per_img=50))
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    _delete_=True, type='mmdet.CocoDataset', ann_file='boxes.json', data_root='.',
    data_prefix=dict(img='images/'), test_mode=True,
    metainfo=dict(classes=('RBC', 'WBC', 'Platelets')),
    pipeline=[
        dict(type='LoadImageFromFile'), dict(type='Resize', scale_factor=1.0),
        dict(type='PackDetInputs', meta_keys=(
            'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]))
test_evaluator = dict(_delete_=True, type='mmdet.DumpDetResults', out_file_path='x.pkl')
"""


@pytest.mark.slow
@each_runtime
def test_a_detector_finds_the_same_boxes(to, tmp_path, deploy_random, predictions):
    require(to)
    pytest.importorskip('mmdet')
    write_images(tmp_path / 'images', SIZES)
    images = [
        dict(id=i, file_name=f'{i}.png', height=height, width=width)
        for i, (height, width) in enumerate(SIZES)
    ]
    categories = [dict(id=i, name=n) for i, n in enumerate(('RBC', 'WBC', 'Platelets'))]
    content = dict(images=images, annotations=[], categories=categories)
    (tmp_path / 'boxes.json').write_text(json.dumps(content))
    trained, out = deploy_random(DETECTOR, to)
    assert 'equal labels' not in out  # a detector labels no images
    for before, after in zip(predictions(*trained), predictions('net.py', 'net.pth')):
        before, after = before['pred_instances'], after['pred_instances']
        assert len(before['bboxes']) == len(after['bboxes']) > 0
        # in any order, as scores may be equal but for rounding
        a, b = (
            torch.cat([each['bboxes'], each['scores'][:, None]], 1)
            for each in (before, after)
        )
        gaps = (a[:, None] - b).abs().amax(2)
        gaps[before['labels'][:, None] != after['labels']] = float('inf')
        assert gaps.min(0).values.max() < 1e-2  # of some hundred pixels


SEGMENTOR = f"""
_base_ = '{ROOT}/configs/ean_seg/fcn_r18-d8_camvid.py'
model = dict(
    backbone={BACKBONE},
    decode_head=dict(in_channels=64, channels=16),
    auxiliary_head=dict(in_channels=32, channels=16))
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    data_root='.', img_suffix='.png',
    data_prefix=dict(_delete_=True, img_path='images'),
    pipeline=[dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]))
test_evaluator = dict(_delete_=True, type='DumpResults', out_file_path='x.pkl')
"""


@pytest.mark.slow
@each_runtime
def test_a_segmentor_labels_the_same_pixels(to, tmp_path, deploy_random, predictions):
    require(to)
    pytest.importorskip('mmseg')
    write_images(tmp_path / 'images', SIZES)
    trained, out = deploy_random(SEGMENTOR, to)
    (same,) = re.findall(r'equal labels on 3 test images: (\S+) %', out)
    assert float(same) > 99.9
    for before, after in zip(predictions(*trained), predictions('net.py', 'net.pth')):
        ours, theirs = (each['seg_logits']['data'] for each in (after, before))
        assert (ours - theirs).norm() < 1e-4 * theirs.norm()
        assert len(before['pred_sem_seg']['data'].unique()) > 1
