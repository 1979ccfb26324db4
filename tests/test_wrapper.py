"""Shared attention around backbones that other packages have written."""

import copy
import json
import pickle
import re
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from mmcv.cnn.utils import fuse_conv_bn
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmpretrain.models import ResNeXt
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ean_mm import EANError, EANResNet, EANWrapper, Mask
from ean_mm.models.masked_backbone import MEMORY_FORMATS
from ean_mm.models.wrapped_blocks import WrappedBlock
from ean_mm.search import SearchSpace
from ean_mm.search.evaluation.cost import measure_cost

ALL = ['SEAttention', 'SGEAttention', 'DIAAttention', 'SPAAttention', 'ECAAttention',
       'CBAMAttention']  # fmt: skip
SE = dict(type='SEAttention')
DIA = dict(type='DIAAttention')

SMALL = dict(base_channels=16, stem_channels=16, out_indices=(0, 1, 2, 3))
TWO_STAGES = dict(
    base_channels=16, stem_channels=16, num_stages=2, strides=(1, 2), dilations=(1, 1),
    out_indices=(0, 1))  # fmt: skip
REGNET = dict(
    arch=dict(w0=16, wa=16.0, wm=2.0, group_w=8, depth=6, bot_mul=1.0),
    stem_channels=8, base_channels=8, strides=(1, 2, 1, 1),
    out_indices=(0, 1, 2, 3))  # fmt: skip
BACKBONES = {
    'mmpretrain.ResNet': dict(depth=18, **SMALL),
    'mmpretrain.ResNeXt': dict(depth=50, groups=4, **TWO_STAGES),
    'mmpretrain.Res2Net': dict(depth=50, **TWO_STAGES),
    'mmpretrain.RegNet': REGNET,
    'mmpretrain.SEResNet': dict(depth=50, **TWO_STAGES),
    'mmpretrain.SEResNeXt': dict(depth=50, groups=4, **TWO_STAGES),
    'mmpretrain.ResNeSt': dict(depth=50, **TWO_STAGES),
    'mmpretrain.ResNetV1d': dict(depth=50, **TWO_STAGES),
    'mmdet.ResNet': dict(depth=18, **SMALL),
    'mmdet.ResNeXt': dict(depth=50, groups=4, base_width=4, **TWO_STAGES),
    'mmdet.Res2Net': dict(depth=50, **TWO_STAGES),
    'mmdet.RegNet': REGNET,
    'mmdet.ResNeSt': dict(depth=50, **TWO_STAGES),
    'mmseg.ResNet': dict(depth=18, **SMALL),
    'mmseg.ResNeXt': dict(depth=50, groups=4, base_width=4, **TWO_STAGES),
    'mmseg.ResNetV1c': dict(depth=50, **TWO_STAGES),
    'mmseg.ResNeSt': dict(depth=50, **TWO_STAGES),
}
each = pytest.mark.parametrize('name', BACKBONES)
guests = pytest.mark.parametrize('name', ['mmpretrain.Res2Net', 'mmdet.ResNet'])
three = pytest.mark.parametrize(
    'name', ['mmpretrain.ResNeXt', 'mmdet.ResNeXt', 'mmdet.Res2Net']
)
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@MODELS.register_module()
class SigmoidAttention(nn.Module):
    """A user's own attention, whose backward pass needs what it returned."""

    def forward(self, x):
        return x.sigmoid()


def plain(name, **kwargs):
    pytest.importorskip(name.split('.')[0])
    return randomize(MODELS.build(dict(type=name, **BACKBONES[name], **kwargs)))


def wrap(name, attention=SE, inner=None, **kwargs):
    pytest.importorskip(name.split('.')[0])
    backbone = dict(type=name, **BACKBONES.get(name, {}), **(inner or {}))
    return randomize(EANWrapper(backbone, attention=attention, **kwargs))


def randomize(model):
    """Give norm layers statistics, as training would, and set the model to eval."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    model.eval()
    return model


def run(model, images=IMAGES):
    """Return the outputs and the gradients of a training step."""
    model.train()
    model.zero_grad()
    outs = model(images.to(next(model.parameters()).dtype))
    sum(out.cos().sum() for out in outs).backward()
    return outs, {name: p.grad for name, p in model.named_parameters()}


def assert_close(ours, theirs, tolerance):
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() <= tolerance * b.norm() + 1e-12


# the same as EANResNet


@pytest.mark.parametrize('share', ['stage', 'block'])
@pytest.mark.parametrize('depth', [18, 50])
@pytest.mark.parametrize('attention', ALL)
def test_around_mmpretrains_resnet_it_is_ean_resnet(attention, depth, share):
    options = dict(attention=dict(type=attention), share=share)
    ours = EANWrapper(dict(type='mmpretrain.ResNet', depth=depth, **SMALL), **options)
    theirs = EANResNet(depth, **SMALL, **options)
    ours.load_state_dict(theirs.state_dict())
    for mask in ('all', 'none', (2, 5, 9, 1) if depth == 50 else (2, 1, 0, 3)):
        for model in (ours, theirs):
            model.set_mask(mask)
        (outs, gradients), (expected, wanted) = run(ours), run(theirs)
        assert all(torch.equal(a, b) for a, b in zip(outs, expected, strict=True))
        assert gradients.keys() == wanted.keys()
        for name, gradient in wanted.items():
            if gradient is None:
                assert gradients[name] is None, name
            else:
                assert torch.equal(gradients[name], gradient), name
        ours.eval(), theirs.eval()
        with torch.no_grad():
            assert all(map(torch.equal, ours(IMAGES), theirs(IMAGES)))


@pytest.mark.parametrize('toolbox', ['mmdet', 'mmseg'])
@pytest.mark.parametrize('depth', [18, 50])
@pytest.mark.parametrize('attention', ALL)
def test_blocks_of_other_toolboxes_attend_where_ean_resnet_does(
    attention, depth, toolbox
):
    pytest.importorskip(toolbox)
    options = dict(
        attention=dict(type=attention),
        mask='011-0110-011011-011' if depth == 50 else '01-10-11-01',
    )
    inner = dict(type=f'{toolbox}.ResNet', depth=depth, norm_eval=False, **SMALL)
    ours = EANWrapper(inner, **options).double()
    theirs = EANResNet(depth, **SMALL, **options).double()
    assert isinstance(ours.layer1[0], WrappedBlock)
    ours.load_state_dict(theirs.state_dict())
    (outs, gradients), (expected, wanted) = run(ours), run(theirs)
    assert_close(outs, expected, 1e-10)
    for name, gradient in wanted.items():
        assert_close([gradients[name]], [gradient], 1e-8)


# the wrapped backbone stays itself


@each
def test_keys_are_the_backbones_own(name):
    theirs, ours = plain(name).state_dict(), wrap(name).state_dict()
    own = {key for key in ours if not key.startswith('attentions.')}
    assert own == set(theirs) and len(ours) > len(own)
    assert set(wrap(name, attention=None).state_dict()) == set(theirs)


@each
@torch.no_grad()
def test_a_plain_checkpoint_gives_the_plain_backbone_without_bits(name):
    theirs, ours = plain(name), wrap(name, mask='none')
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not unexpected and all(key.startswith('attentions.') for key in missing)
    assert all(map(torch.equal, ours(IMAGES), theirs(IMAGES)))
    ours.set_mask('all')
    assert not torch.equal(ours(IMAGES)[-1], theirs(IMAGES)[-1])


@each
def test_it_trains_and_its_state_comes_back(name):
    model = wrap(name, inner=dict(norm_eval=False))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    before = copy.deepcopy(model.state_dict())
    _, gradients = run(model)
    assert all(gradient is not None for gradient in gradients.values())
    optimizer.step()
    assert any(not torch.equal(before[k], v) for k, v in model.state_dict().items())
    again = wrap(name)
    again.load_state_dict(model.state_dict())
    model.eval()
    with torch.no_grad():
        assert all(map(torch.equal, again(IMAGES), model(IMAGES)))


def test_it_is_an_instance_of_the_backbones_class():
    model = wrap('mmpretrain.ResNeXt', mask='100-0101')
    assert isinstance(model, ResNeXt) and isinstance(model, EANWrapper)
    assert model.groups == 4
    assert (model.network, model.stage_blocks) == ('ResNeXt-50', (3, 4))
    assert str(model.mask) == '100-0101'
    assert model.train() is model and model.eval() is model
    assert repr(model).startswith('ResNeXt(')


def test_frozen_stages_and_norm_eval_leave_the_attention_training():
    class NormAttention(nn.Sequential):
        def __init__(self, channels):
            super().__init__(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))

    options = dict(
        attention=dict(type=NormAttention), inner=dict(frozen_stages=2, norm_eval=True)
    )
    model = wrap('mmdet.ResNet', **options).train()
    assert not any(p.requires_grad for p in model.layer2.parameters())
    assert not model.layer3[0].norm1.training
    assert all(p.requires_grad for p in model.attentions.parameters())
    assert all(attention[1].training for attention in model.attentions)
    model = wrap('mmdet.ResNet', freeze_attention=True, **options).train()
    trainable = [any(p.requires_grad for p in a.parameters()) for a in model.attentions]
    assert trainable == [False, False, True, True]


def unpickle(model):
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize('duplicate', [copy.deepcopy, unpickle])
@guests
@torch.no_grad()
def test_a_copy_has_attention_of_its_own(name, duplicate):
    model = wrap(name)
    copied = duplicate(model)
    assert type(copied) is type(model) and copied.mask == model.mask
    expected = model(IMAGES)
    assert all(map(torch.equal, copied(IMAGES), expected))
    copied.set_mask('none')
    for parameter in copied.attentions.parameters():
        parameter.zero_()
    assert all(map(torch.equal, model(IMAGES), expected))


# attention and its state


@guests
@torch.no_grad()
def test_blocks_of_a_stage_share_a_module_or_have_one_each(name):
    shared, unshared = wrap(name), wrap(name, share='block')
    blocks = shared.stage_blocks
    per_stage = [sum(p.numel() for p in a.parameters()) for a in shared.attentions]
    assert shared.num_attention_parameters() == sum(per_stage)
    expected = sum(n * count for n, count in zip(blocks, per_stage))
    assert unshared.num_attention_parameters() == expected
    calls = []
    shared.attentions[0].register_forward_hook(lambda *args: calls.append(1))
    shared(IMAGES)
    assert len(calls) == blocks[0]


@three
def test_dia_state_skips_blocks_without_a_bit_and_restarts(name):
    model = wrap(name, DIA, mask='101-0110')
    states = []
    model.attentions[1].register_forward_hook(
        lambda module, args, out: states.append((args[1], out[1]))
    )
    first = model(IMAGES)
    (before, after), (second_before, _) = states
    assert before is None and second_before is after
    with pytest.raises(RuntimeError):  # in the middle of the second stage
        with torch.no_grad():
            handle = model.layer2[2].register_forward_pre_hook(_fail)
            model(IMAGES)
    handle.remove()
    assert all(map(torch.equal, model(IMAGES), first))


def _fail(*args):
    raise RuntimeError


def test_unshared_dia_starts_every_block_at_zero():
    model, states = wrap('mmdet.ResNet', DIA, share='block'), []
    for attention in model.attentions[1]:
        attention.register_forward_hook(
            lambda module, args, out: states.append(args[1])
        )
    model(IMAGES)
    assert states == [None, None]


@three
@pytest.mark.parametrize('attention', [*ALL, 'SigmoidAttention'])
def test_checkpointed_activations_give_the_same_gradients(attention, name):
    attention = dict(type=attention)
    model = wrap(name, attention, inner=dict(with_cp=True)).double()
    twin = wrap(name, attention).double()
    twin.load_state_dict(model.state_dict())
    (outs, gradients), (expected, wanted) = run(model), run(twin)
    assert_close(outs, expected, 1e-12)
    for key, gradient in wanted.items():
        torch.testing.assert_close(gradients[key], gradient, msg=key)


def test_checkpointed_activations_under_ddp():
    """With a shared module in some blocks, as SupernetHook's masks come."""
    options = dict(mask='10-11-00-01', inner=dict(with_cp=True))
    model = wrap('mmdet.ResNet', DIA, **options)
    _, expected = run(copy.deepcopy(model))
    dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)
    try:
        parallel = DistributedDataParallel(model, find_unused_parameters=True)
        _, gradients = run(parallel)
    finally:
        dist.destroy_process_group()
    for name, gradient in expected.items():
        if gradient is not None:
            torch.testing.assert_close(gradients[f'module.{name}'], gradient)


def test_init_weights_keeps_the_attentions_own_start():
    for name in ('mmpretrain.Res2Net', 'mmdet.ResNet'):
        model = wrap(name, dict(type='SEAttention', init='identity'))
        model.init_weights()
        gate = model.attentions[0].gate(
            torch.rand(1, model.attentions[0].channels, 4, 4)
        )
        assert gate.mean() > 0.95
        last = f'norm{model.layer1[0].depth}'
        assert (getattr(model.layer1[0], last).weight == 0).all()  # zero_init_residual


@pytest.mark.parametrize('where', ['pretrained', 'init_cfg', 'backbone'])
def test_pretrained_weights_may_lack_the_attention(where, tmp_path):
    theirs, path = plain('mmdet.ResNet'), str(tmp_path / 'plain.pth')
    torch.save(theirs.state_dict(), path)
    init_cfg = dict(type='Pretrained', checkpoint=path)
    options = dict(
        pretrained=dict(pretrained=path),
        init_cfg=dict(init_cfg=init_cfg),
        backbone=dict(inner=dict(init_cfg=init_cfg)),
    )
    model = wrap('mmdet.ResNet', **options[where])
    model.init_weights()
    for key, value in theirs.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


class Pooling(ResNeXt):
    """A backbone that returns one map and takes something else too."""

    def forward(self, x, flip=False):
        (x,) = super().forward(x)
        return x.mean((2, 3), keepdim=True).flip(1) if flip else x


@torch.no_grad()
def test_what_the_backbone_takes_and_returns_is_kept():
    MODELS.register_module(module=Pooling, force=True)
    model = EANWrapper(
        dict(type='Pooling', depth=50, groups=4, **{**TWO_STAGES, 'out_indices': (1,)}),
        attention=SE,
    ).eval()
    expected = model(IMAGES), model(IMAGES, flip=True)
    model.switch_to_deploy()
    assert_close([model(IMAGES), model(IMAGES, flip=True)], expected, 1e-5)


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


@pytest.mark.parametrize('name', ['mmpretrain.ResNeXt', 'mmdet.Res2Net'])
@torch.no_grad()
def test_compilers_and_exporters_take_it(name):
    model = wrap(name, DIA, mask='101-1101')
    free = ({axis: torch.export.Dim.AUTO for axis in (0, 2, 3)},)
    program = torch.export.export(model, (IMAGES,), dynamic_shapes=free)
    traced = torch.jit.trace(model, IMAGES)
    images = torch.randn(3, 3, 96, 80)
    for form in (program.module(), traced):
        assert_close(form(images), model(images), 1e-5)
    compiled = torch.compile(model, backend='eager', fullgraph=True)
    assert_close(compiled(IMAGES), model(IMAGES), 1e-5)


# configs


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmdet', 'mmseg'])
def test_a_bare_name_is_the_default_scopes(scope):
    module = pytest.importorskip(f'{scope}.models.backbones.resnext')
    inner = ConfigDict(type='ResNeXt', depth=50, groups=4, **TWO_STAGES)
    with DefaultScope.overwrite_default_scope(scope):
        registry = __import__(f'{scope}.registry', fromlist=['MODELS']).MODELS
        model = registry.build(dict(type='EANWrapper', attention=SE, backbone=inner))
    assert isinstance(model, module.ResNeXt)


@pytest.mark.parametrize(
    'backbone, options, message',
    [
        (dict(type='mmpretrain.VGG', depth=11), {}, 'VGG is no backbone .*res_layers'),
        (dict(type='mmdet.Nothing'), {}, "'mmdet.Nothing' is not registered"),
        (dict(type='mmpretrain.ResNet', depth=7), {}, 'invalid depth 7'),
        (dict(type='EANResNet', depth=18), {}, 'takes attention and mask itself'),
        (dict(type='mmdet.DetectoRS_ResNet', depth=50), {}, 'in two ways'),
        ('mmdet.ResNet', {}, "give a dict as dict\\(type='mmdet.ResNeXt'"),
        (None, dict(depth=50), 'takes no depth; .*backbone=dict'),
        (None, dict(mask='101'), '2-2-2-2'),
        (None, dict(share='all'), "share='all' is unknown"),
        (None, dict(attention=dict(type='Nothing')), "'Nothing' is not registered"),
        (None, dict(pretrained='a', init_cfg=dict(type='Kaiming')), 'give one of'),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_mistakes_are_one_line(backbone, options, message):
    backbone = backbone or dict(type='mmpretrain.ResNet', depth=18, **SMALL)
    with pytest.raises(EANError, match=message) as caught:
        EANWrapper(backbone, **{'attention': SE, **options})
    assert '\n' not in str(caught.value)


def test_blocks_that_have_no_one_place_for_attention_are_named():
    pytest.importorskip('mmdet')
    trident = dict(
        type='mmdet.TridentResNet', depth=50, num_branch=3, test_branch_idx=1,
        trident_dilations=(1, 2, 3), num_stages=3, strides=(1, 2, 2),
        dilations=(1, 1, 1), out_indices=(2,), base_channels=8)  # fmt: skip
    model = EANWrapper(trident, attention=SE).train()
    with pytest.raises(EANError, match='TridentBottleneck passes .* 3 times in a call'):
        model(IMAGES)
    assert torch.is_tensor(model.layer3[0].norm3.weight)


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
    history = Path(cfg.work_dir, 'search/history.jsonl').read_text().splitlines()
    best = max(e['reward'] for line in history for e in json.loads(line)['masks'])
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
    bits = [1] * space.num_bits
    assert table.percent(bits) >= table.percent([1] + [0] * (space.num_bits - 1)) >= 0
    assert kind == 'latency' or table.percent(bits) > 0


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
