"""The networks that the benchmark of inference times compares."""

import copy
import sys
import types

import pytest
import torch
from benchmarked import by_label

from benchmark import pick
from benchmark_networks import count, prepare
from benchmark_timing import TrainingStep
from ean_mm.deploy import MEMORY_FORMATS
from ean_mm.errors import EANError


def test_the_default_masks_are_the_published_ones():
    networks = by_label(attention=['SE', 'SGE', 'DIAAttention'])
    assert list(networks)[:4] == ['plain', 'SE unshared', 'SE shared', 'SE mask']
    assert networks['SGE mask'].mask == '100-1011-010011-011'
    assert networks['DIA mask'].mask == '110-0011-110010-011'
    networks = by_label(depth=18, masks=['10-01-00-11', 'all'])
    assert networks['SE mask 1'].mask == '10-01-00-11'
    assert networks['SGE mask 2'].mask == '11-11-11-11'
    assert by_label(depth=18)['SE mask'].mask == '11-10-10-11'


def test_references_are_left_out_where_there_is_none_of_the_depth():
    assert 'mmpretrain SEResNet' in by_label(references=['mmpretrain'])
    shallow = by_label(depth=18, references=['mmpretrain'])
    assert 'mmpretrain ResNet' in shallow
    assert 'mmpretrain SEResNet' not in shallow


def test_timm_gives_its_networks_where_it_is_installed(monkeypatch):
    timm = types.ModuleType('timm')
    timm.is_model = lambda name: name in ('resnet18', 'seresnet18')
    timm.create_model = lambda name, **kwargs: (name, kwargs)
    monkeypatch.setitem(sys.modules, 'timm', timm)
    networks = by_label(depth=18, references=['timm'])
    assert networks['timm SEResNet'].build() == (
        'seresnet18', dict(num_classes=0, global_pool=''))  # fmt: skip
    assert networks['timm ResNet'].attention is None
    assert 'timm ResNet' not in by_label(depth=34, references=['timm'])


def test_only_our_networks_take_the_form_of_the_setting():
    networks = by_label(depth=18, references=['mmpretrain'])
    ours = prepare(networks['SE mask'], True, 'channels_last', 'cpu')
    theirs = prepare(networks['mmpretrain ResNet'], True, 'channels_last', 'cpu')
    assert ours.deployed and ours.conv1.weight.is_contiguous(
        memory_format=torch.channels_last
    )
    assert not ours.training and not theirs.training
    assert theirs.conv1.weight.is_contiguous()
    assert isinstance(theirs.bn1, torch.nn.BatchNorm2d)


@pytest.mark.parametrize('label', ['SE mask', 'SGE shared', 'SE unshared'])
@pytest.mark.parametrize('memory_format', ['contiguous', 'channels_last'])
def test_networks_compute_the_same_in_inference_mode(label, memory_format):
    network = by_label(depth=18)[label]
    model = prepare(network, False, memory_format, 'cpu')
    images = torch.randn(2, 3, 32, 32)
    [expected] = model(images)
    images = images.to(memory_format=MEMORY_FORMATS[memory_format])
    with torch.inference_mode():
        [once], [again] = model(images), model(images)
    torch.testing.assert_close(once, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(again, once)
    model = copy.deepcopy(model)
    model.switch_to_deploy(memory_format)
    with torch.inference_mode():
        [deployed] = model(images)
    torch.testing.assert_close(deployed, expected, rtol=1e-4, atol=1e-4)


def test_parameters_are_those_in_use():
    networks = by_label(depth=18, masks=['10-00-00-00'], attention=['SE'])
    plain, unshared, shared, mask = (
        count(network, False, 32)['parameters'] for network in networks.values()
    )
    # SE of ratio 16 has 2 C C/16 + C/16 + C parameters
    sizes = [2 * c * (c // 16) + c // 16 + c for c in (64, 128, 256, 512)]
    assert shared - plain == sum(sizes)
    assert unshared - plain == 2 * sum(sizes)
    assert mask - plain == sizes[0]


def test_deployment_folds_parameters_and_keeps_sharing():
    networks = by_label(depth=18, attention=['SE'])
    plain, unshared, shared = (
        count(networks[label], True, 32)['parameters']
        for label in ('plain', 'SE unshared', 'SE shared')
    )
    assert plain < count(networks['plain'], False, 32)['parameters']
    assert plain < shared < unshared


@pytest.mark.parametrize('memory_format', ['contiguous', 'channels_last'])
def test_a_training_step_changes_every_weight(memory_format):
    network = by_label(depth=18)['SE shared']
    model = prepare(network, False, memory_format, 'cpu', training=True)
    before = copy.deepcopy(model.state_dict())
    TrainingStep(model)(torch.randn(2, 3, 32, 32))
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_networks_are_picked_by_their_labels():
    networks = list(by_label(references=['mmpretrain']).values())
    picked = [network.label for network in pick(networks, ['SE mask'])]
    assert picked == ['plain', 'SE mask', 'mmpretrain ResNet']
    assert pick(networks, None) == networks
    with pytest.raises(EANError, match="'SE' is not timed; there are SE mask, "):
        pick(networks, ['SE'])


@pytest.mark.slow
@pytest.mark.parametrize('runtime', ['openvino', 'onnxruntime'])
def test_the_profile_of_a_runtime_counts_its_layers(runtime, tool):
    pytest.importorskip(runtime)
    pytest.importorskip('onnxscript')
    status, out = tool(
        'analysis_tools/profile_runtime.py', runtime, '--depth', 18, '--image-size', 32,
        '--passes', 2, '--threads', 1)  # fmt: skip
    assert status == 0, status
    counts = [row.count('(') for row in out.splitlines() if 'Conv' in row]
    assert max(counts) == 3 and 'more than plain' in out
