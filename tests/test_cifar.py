"""The CIFAR-10 configs on real images, where they lie beside the checkout."""

import tarfile
from pathlib import Path

import pytest
from searches import judged_masks

pytestmark = pytest.mark.slow


@pytest.fixture
def cifar10(shared_data, tmp_path):
    """A folder with the first images of every class: 200 to train, 20 to test."""
    limits = dict(train=200, test=20)
    counts = {}
    with tarfile.open(shared_data / 'cifar10.tar.gz') as archive:
        for member in archive:
            parts = Path(member.name).parts
            if not member.isfile() or len(parts) != 4:
                continue
            key = parts[1:3]
            counts[key] = counts.get(key, 0) + 1
            if counts[key] <= limits[parts[1]]:
                archive.extract(member, tmp_path, filter='data')
    return tmp_path / 'cifar10'


def test_a_supernet_learns_real_images_and_its_search_sees_it(root, tool, cifar10):
    config = root / 'configs/ean/resnet20_se_search_cifar10.py'
    status, _ = tool(
        'train.py', config, '--data-root', cifar10, '--channels-last',
        '--cfg-options', 'train_cfg.max_epochs=8', 'randomness.seed=0',
        'train_dataloader.batch_size=50', 'optim_wrapper.optimizer.lr=0.05',
        'train_dataloader.dataset.num_per_class=30',
        'val_dataloader.dataset.num_per_class=30',
        'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
        'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False',
        'custom_hooks.2.searcher.num_steps=10')  # fmt: skip
    assert status == 0
    masks = judged_masks('work_dirs/resnet20_se_search_cifar10')
    # percent; chance is 10, three standard errors are 5
    assert max(mask['metric'] for mask in masks) > 18
