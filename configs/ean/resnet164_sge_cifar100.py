_base_ = [
    '../_base_/models/ean_resnet164_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_164e.py',
    '../_base_/default_runtime.py',
]

# Found by resnet164_sge_search_cifar100.py, which has to run first.
model = dict(
    backbone=dict(
        # four channels a group in the first stage, as ResNet-50 has
        attention=dict(type='SGEAttention', groups=16),
        mask='work_dirs/resnet164_sge_search_cifar100/mask_backbone.json',
    )
)
