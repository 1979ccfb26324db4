_base_ = [
    '../_base_/models/ean_resnet20_cifar.py',
    '../_base_/datasets/digits_search.py',
    '../_base_/schedules/digits_supernet_15e.py',
    '../_base_/search_runtime.py',
]

model = dict(backbone=dict(in_channels=1, attention=dict(type='SEAttention', ratio=4)))
