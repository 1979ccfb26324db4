_base_ = [
    '../_base_/models/ean_resnet20_cifar.py',
    '../_base_/datasets/cifar10_16px_search.py',
    '../_base_/schedules/cifar_supernet_80e.py',
    '../_base_/search_runtime.py',
]

model = dict(backbone=dict(attention=dict(type='SEAttention', ratio=4)))
custom_hooks = [*_base_.custom_hooks, dict(type='ChannelsLastHook')]
