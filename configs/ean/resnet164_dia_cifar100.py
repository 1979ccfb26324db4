_base_ = [
    '../_base_/models/ean_resnet164_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_164e.py',
    '../_base_/default_runtime.py',
]

# Found by resnet164_dia_search_cifar100.py, which has to run first.
model = dict(
    backbone=dict(
        attention=dict(type='DIAAttention', ratio=4),
        mask='work_dirs/resnet164_dia_search_cifar100/mask_backbone.json',
    )
)
