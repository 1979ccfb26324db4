"""Backbones of other packages with shared attention are searched and deployed."""

import copy
import re

import pytest
import torch
from mmcv.cnn.utils import fuse_conv_bn
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, init_default_scope
from networks import randomize
from searches import judged_masks
from torch import nn
from wrapped import BACKBONES, IMAGES, assert_close, wrap

from ean_mm import Mask
from ean_mm.deploy import MEMORY_FORMATS
from ean_mm.search import SearchSpace
from ean_mm.search.evaluation.cost import measure_cost

DIA = dict(type='DIAAttention')
each = pytest.mark.parametrize('name', BACKBONES)
guests = pytest.mark.parametrize('name', ['mmpretrain.Res2Net', 'mmdet.ResNet'])


# folding and deployment


@each
@torch.no_grad()
def test_folding_norm_layers_leaves_the_attention(name):
    model = wrap(name, DIA)
    expected = model(IMAGES)
    assert_close(fuse_conv_bn(copy.deepcopy(model))(IMAGES), expected, 1e-5)
    model.set_mask('none')
    assert not torch.allclose(model(IMAGES)[-1], expected[-1])


@pytest.mark.parametrize('memory_format', MEMORY_FORMATS)
@each
@torch.no_grad()
def test_deployed_backbones_agree(name, memory_format):
    blocks = wrap(name).stage_blocks
    mask = '-'.join('1' + '0' * (n - 1) for n in blocks)
    model = wrap(name, DIA, mask=mask)
    network = copy.deepcopy(model)
    network.switch_to_deploy(memory_format)
    assert_close(network(IMAGES), model(IMAGES), 1e-5)
    kept = [m for a in network.attentions for m in a if not isinstance(m, nn.Identity)]
    assert len(kept) == len(blocks)
    built = wrap(name, DIA, mask=mask, deploy=memory_format)
    built.load_state_dict(network.state_dict())
    assert all(map(torch.equal, built(IMAGES), network(IMAGES)))


@pytest.mark.parametrize('name', ['mmpretrain.ResNeXt', 'mmdet.CSPNeXt'])
@torch.no_grad()
def test_compilers_and_exporters_take_it(name):
    model = wrap(name, DIA)
    model.set_mask([[1, 0, 1, 1, 1, 1][:n] for n in model.stage_blocks])
    free = ({axis: torch.export.Dim.AUTO for axis in (0, 2, 3)},)
    program = torch.export.export(model, (IMAGES,), dynamic_shapes=free)
    traced = torch.jit.trace(model, IMAGES)
    images = torch.randn(3, 3, 96, 80)
    for form in (program.module(), traced):
        assert_close(form(images), model(images), 1e-5)
    compiled = torch.compile(model, backend='eager', fullgraph=True)
    assert_close(compiled(IMAGES), model(IMAGES), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    'name',
    ['mmdet.Res2Net', 'mmdet.CSPDarknet', 'mmdet.HRNet', 'mmpretrain.MobileNetV2',
     'mmseg.MobileNetV3', 'mmdet.EfficientNet', 'mmpretrain.ConvNeXt'],
)  # fmt: skip
@torch.no_grad()
def test_deployed_networks_can_be_exported(name):
    model = wrap(name, DIA, deploy=True)
    program = torch.export.export(model, (IMAGES,)).module()
    images = torch.randn(2, 3, 64, 64)
    assert_close(program(images), model(images), 1e-4)


# the search


@pytest.fixture
def wrapped_digits(digits_config):
    """The search on digits, with another backbone in place of ResNet-20."""

    def change(name):
        digits_config.model.backbone = ConfigDict(
            type='EANWrapper',
            attention=dict(type='DIAAttention', ratio=4),
            backbone=dict(type=name, in_channels=1, **BACKBONES[name]),
        )
        inner = digits_config.model.backbone.backbone
        inner.out_indices = inner.out_indices[-1:]
        features = MODELS.build(digits_config.model.backbone)(torch.randn(2, 1, 8, 8))
        digits_config.model.head.in_channels = features[0].shape[1]
        return digits_config

    return change


@pytest.mark.parametrize('name', ['mmpretrain.ResNeXt', 'mmdet.Res2Net'])
def test_it_takes_part_in_the_search(name, wrapped_digits, build_runner):
    pytest.importorskip(name.split('.')[0])
    cfg = wrapped_digits(name)
    runner = build_runner(cfg)
    runner.train()
    found = Mask.from_file(f'{cfg.work_dir}/mask_backbone.json')
    assert found.stage_blocks == (3, 4)
    assert found.info['network'] == name.split('.')[1] + '-50'
    assert runner.model.backbone.mask == found
    best = max(entry['reward'] for entry in judged_masks(cfg.work_dir))
    assert found.info['reward'] == pytest.approx(best, abs=1e-4)
    checkpoint = torch.load(f'{cfg.work_dir}/epoch_1.pth', weights_only=True)
    assert checkpoint['meta']['ean_mm']['masks'].keys() == {'backbone'}


@torch.no_grad()
def test_the_deployment_tool_takes_it(wrapped_digits, tool, tmp_path):
    pytest.importorskip('mmdet')
    cfg = wrapped_digits('mmdet.Res2Net')
    cfg.model.backbone.backbone.init_cfg = dict(type='Pretrained', checkpoint='a.pth')
    cfg.dump(tmp_path / 'trained.py')
    init_default_scope('mmpretrain')
    model = randomize(MODELS.build(cfg.model))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'trained.pth')
    status, _ = tool('model_converters/deploy.py', 'trained.py', 'trained.pth',
                     'deployed.pth', '--image-size', 16)  # fmt: skip
    assert status == 0
    network = MODELS.build(Config.fromfile(tmp_path / 'deployed.py').model)
    network.init_weights()  # loads nothing: the weights are in the checkpoint
    state = torch.load(tmp_path / 'deployed.pth', weights_only=True)['state_dict']
    network.eval().load_state_dict(state)
    images = torch.randn(2, 1, 16, 16)
    assert_close(network.backbone(images), model.backbone(images), 1e-5)


@pytest.mark.parametrize('kind', ['latency', 'flops', 'parameters'])
@guests
def test_every_cost_of_its_attention_can_be_measured(name, kind):
    init_default_scope('mmpretrain')
    model = MODELS.build(
        dict(type='ImageClassifier',
             backbone=dict(type='EANWrapper', attention=DIA,
                           backbone=dict(type=name, **BACKBONES[name]))))  # fmt: skip
    space = SearchSpace(model)
    table = measure_cost(kind, model, space, dict(inputs=IMAGES))
    counted = [bit for places, _ in table.entries for bit in places]
    assert sorted(counted) == list(range(space.num_bits))
    assert table.percent([0] * space.num_bits) == 0
    if kind == 'flops':
        assert all(cost > 0 for _, cost in table.entries)
    if kind == 'parameters':
        own, all_of_them = (
            sum(p.numel() for p in module.parameters())
            for module in (model.backbone.attentions, model)
        )
        everywhere = table.percent([1] * space.num_bits)
        assert everywhere == pytest.approx(100 * own / (all_of_them - own))


@pytest.mark.slow
@pytest.mark.parametrize(
    'name',
    ['mmpretrain.ResNet', 'mmpretrain.ResNeXt', 'mmpretrain.Res2Net',
     'mmpretrain.RegNet', 'mmdet.ResNeXt', 'mmdet.Res2Net', 'mmseg.ResNet'],
)  # fmt: skip
def test_it_learns_digits(name, wrapped_digits, build_runner):
    pytest.importorskip(name.split('.')[0])
    cfg = wrapped_digits(name)
    cfg.model.backbone.mask = [[1] + [0] * (n - 1) for n in wrap(name).stage_blocks]
    cfg.model.backbone.backbone.norm_eval = False
    cfg.custom_hooks = [dict(type='MaskHook')]
    cfg.train_cfg.update(max_epochs=10, val_interval=10)
    runner = build_runner(cfg)
    runner.train()
    losses, _ = runner.message_hub.get_scalar('train/loss').data
    assert losses[-20:].mean() < losses[:5].mean() / 2
    accuracy = runner.message_hub.get_scalar('val/accuracy/top1').current()
    assert accuracy > 50


def test_the_how_tos_configs_build(root, tmp_path):
    pytest.importorskip('mmdet')
    page = (root / 'docs/how-to/backbone.md').read_text()
    blocks = re.findall(r'```python[^\n]*\n(.*?)```', page, re.S)
    networks = []
    for i, block in enumerate(blocks):
        path = tmp_path / f'config{i}.py'
        path.write_text(block.replace("['resnet20", f"['{root}/configs/ean/resnet20"))
        cfg = Config.fromfile(path)
        if 'mask_backbone.json' in str(cfg.model.backbone.get('mask')):
            cfg.model.backbone.mask = 'all'  # its search has to run first
        init_default_scope(cfg.get('default_scope', 'mmdet'))
        networks.append(MODELS.build(cfg.model.backbone).network)
    assert networks == ['ResNeXt-50', 'RegNet-16', 'RegNet-9', 'RegNet-9']
