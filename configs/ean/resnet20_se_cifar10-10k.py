_base_ = [
    '../_base_/models/ean_resnet20_cifar.py',
    '../_base_/datasets/cifar10-10k.py',
    '../_base_/schedules/cifar_20e.py',
    '../_base_/default_runtime.py',
]

# Found by resnet20_se_search_cifar10.py.
model = dict(
    backbone=dict(
        attention=dict(type='SEAttention', ratio=4),
        mask='masks/resnet20_se_cifar10.json',
    )
)
