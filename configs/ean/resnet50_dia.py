_base_ = [
    '../_base_/models/ean_resnet50.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_120e.py',
    '../_base_/default_runtime.py',
]

# The mask that the authors published.
model = dict(
    backbone=dict(
        attention=dict(type='DIAAttention', ratio=20),
        mask='masks/resnet50_dia_imagenet.json',
    )
)
