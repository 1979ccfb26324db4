_base_ = [
    '../_base_/models/ean_resnet18.py',
    '../_base_/datasets/cifar10_64px.py',
    '../_base_/schedules/cifar_164e.py',
    '../_base_/default_runtime.py',
]

# Found by resnet18_se_search_cifar10.py.
model = dict(
    backbone=dict(
        attention=dict(type='SEAttention'), mask='masks/resnet18_se_cifar10.json'
    )
)
