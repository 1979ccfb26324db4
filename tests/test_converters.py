"""Converted checkpoints against networks in their own layout, in plain torch."""

import runpy
import sys

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.models import SEResNet
from torch import nn

from ean_mm import EANResNet, Mask

BLOCKS = (3, 4, 6, 3)


class ShareSE(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1)

    def forward(self, x):
        v = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(v))))


class ShareSGE(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, 64, 1, 1))
        self.bias = nn.Parameter(torch.randn(1, 64, 1, 1))

    def forward(self, x):
        n, c, h, w = x.shape
        x = x.view(n * 64, -1, h, w)
        t = (x * x.mean((2, 3), keepdim=True)).sum(1).view(n * 64, -1)
        t = t - t.mean(1, keepdim=True)
        t = (t / (t.std(1, keepdim=True) + 1e-5)).view(n, 64, h, w)
        t = (t * self.weight + self.bias).view(n * 64, 1, h, w)
        return (x * torch.sigmoid(t)).view(n, c, h, w)


class Bottlenecked(nn.Module):
    def __init__(self, channels):
        super().__init__()
        hidden = channels // 20
        self.seq = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 4 * channels)
        )

    def forward(self, x):
        return self.seq(x)


class Cell(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.w_ih = nn.ModuleList([Bottlenecked(channels)])
        self.w_hh = nn.ModuleList([Bottlenecked(channels)])

    def forward(self, v, state):
        h, c = state
        i, f, g, o = (self.w_ih[0](v) + self.w_hh[0](h)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.sigmoid(c), c


class Block(nn.Module):
    def __init__(self, inside, planes, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, planes, 1), nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        if stride != 1 or inside != 4 * planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, 4 * planes, 1, stride), nn.BatchNorm2d(4 * planes)
            )

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        skip = self.downsample(x) if hasattr(self, 'downsample') else x
        return self.bn3(self.conv3(y)), skip


class Stage(nn.Module):
    def __init__(self, inside, planes, number, stride, kind):
        super().__init__()
        self.ModuleList = nn.ModuleList(
            Block(inside if b == 0 else 4 * planes, planes, stride if b == 0 else 1)
            for b in range(number)
        )
        self.kind = kind
        if kind == 'dia':
            self.lstm = Cell(4 * planes)
        else:
            self.share_fc = dict(se=ShareSE, sge=ShareSGE)[kind](4 * planes)

    def forward(self, x, bits):
        state = None
        for block, bit in zip(self.ModuleList, bits):
            y, skip = block(x)
            if bit and self.kind == 'dia':
                v = y.mean((2, 3))
                state = self.lstm(v, state or (torch.zeros_like(v),) * 2)
                y = y * state[0][:, :, None, None]
            elif bit:
                y = self.share_fc(y)
            x = torch.relu(y + skip)
        return x


class Authors(nn.Module):
    """ResNet-50 in the layout of the authors' code, convolutions with biases."""

    def __init__(self, kind):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64)
        for i, number in enumerate(BLOCKS):
            stage = Stage(
                64 if i == 0 else 128 << i, 64 << i, number, 1 if i == 0 else 2, kind
            )
            setattr(self, f'layer{i + 1}', stage)
        self.last_linear = nn.Linear(2048, 10)

    def forward(self, x, mask):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        for i, bits in enumerate(mask.stages):
            x = getattr(self, f'layer{i + 1}')(x, bits)
        return self.last_linear(x.mean((2, 3)))


def trained_like(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.0)
    model.eval()
    return model


@pytest.fixture
def tool(root, monkeypatch, capsys):
    def run(name, *arguments):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        path = root / 'tools/model_converters' / name
        runpy.run_path(str(path), run_name='__main__')
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize('kind', ['se', 'sge', 'dia'])
def test_the_authors_checkpoints(tool, tmp_path, kind):
    network = trained_like(Authors(kind))
    mask = Mask.random(BLOCKS, torch.Generator().manual_seed(len(kind)))
    torch.save(
        dict(epoch=3, arch='resnet50', best_acc1=torch.tensor(70.0), optimizer={},
             state_dict={f'module.{k}': v for k, v in network.state_dict().items()}),
        tmp_path / 'theirs.pth')  # fmt: skip
    tool(
        'authors_to_ean.py',
        tmp_path / 'theirs.pth',
        tmp_path / 'ours.pth',
        '--mask',
        mask,
    )
    checkpoint = torch.load(tmp_path / 'ours.pth', weights_only=True)
    assert checkpoint['meta']['ean_mm'] == dict(
        masks=dict(backbone=str(mask)), attention=f'{kind.upper()}Attention'
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(
            dict(
                type='ImageClassifier',
                backbone=dict(
                    type='EANResNet',
                    depth=50,
                    mask=str(mask),
                    attention=dict(type=f'{kind.upper()}Attention'),
                ),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='LinearClsHead', num_classes=10, in_channels=2048),
            )
        )
    missing, unexpected = model.load_state_dict(checkpoint['state_dict'], strict=False)
    assert not missing and not unexpected
    model.eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = model(x), network(x, mask)
    assert (ours - theirs).norm() / theirs.norm() < 1e-4


def test_an_unshared_se_resnet(tool, tmp_path):
    theirs = trained_like(SEResNet(50))
    torch.save(dict(state_dict=theirs.state_dict()), tmp_path / 'se.pth')
    out = tool('resnet_to_ean.py', tmp_path / 'se.pth', tmp_path / 'ean.pth')
    assert '64 attention (share=block)' in out
    ours = EANResNet(50, attention=dict(type='SEAttention'), share='block').eval()
    weights = torch.load(tmp_path / 'ean.pth', weights_only=True)['state_dict']
    ours.load_state_dict(weights)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    'name, content, message',
    [
        ('authors_to_ean.py', dict(x=1), "has no 'state_dict'"),
        (
            'authors_to_ean.py',
            dict(state_dict={'fc.weight': torch.ones(1)}),
            'is no key',
        ),
        ('resnet_to_ean.py', {'fc.weight': torch.ones(1)}, 'holds no ResNet'),
        ('resnet_to_ean.py', [1], 'no dict of weights'),
    ],
)
def test_other_files_are_one_line(tool, tmp_path, name, content, message):
    torch.save(content, tmp_path / 'a.pth')
    arguments = ['--mask', 'all'] if name.startswith('authors') else []
    with pytest.raises(SystemExit, match=message):
        tool(name, tmp_path / 'a.pth', tmp_path / 'b.pth', *arguments)
    assert not (tmp_path / 'b.pth').exists()
