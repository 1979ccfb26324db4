_base_ = [
    '../_base_/models/ean_resnet18.py',
    '../_base_/datasets/cifar10_64px_search.py',
    '../_base_/schedules/cifar_supernet_80e.py',
    '../_base_/search_runtime.py',
]

# For tasks whose backbone is a ResNet-18.
model = dict(backbone=dict(attention=dict(type='SEAttention')))
