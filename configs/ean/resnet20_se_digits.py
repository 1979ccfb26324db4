_base_ = [
    '../_base_/models/ean_resnet20_cifar.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/digits_15e.py',
    '../_base_/default_runtime.py',
]

# Found by resnet20_se_search_digits.py.
model = dict(
    backbone=dict(
        in_channels=1,
        attention=dict(type='SEAttention', ratio=4),
        mask='masks/resnet20_se_digits.json',
    )
)
