_base_ = [
    '../_base_/models/ean_resnet164_cifar.py',
    '../_base_/datasets/cifar100_search.py',
    '../_base_/schedules/cifar_supernet_80e.py',
    '../_base_/search_runtime.py',
]

# four channels a group in the first stage, as ResNet-50 has
model = dict(backbone=dict(attention=dict(type='SGEAttention', groups=16)))
