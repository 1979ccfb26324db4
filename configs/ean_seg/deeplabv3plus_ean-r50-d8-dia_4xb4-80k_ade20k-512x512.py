_base_ = [
    'mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb4-80k_ade20k-512x512.py',
    '../_base_/ean_mm.py',
]

# The mask that the authors published, found on ImageNet.
model = dict(
    backbone=dict(
        type='EANResNet',
        deep_stem=True,
        attention=dict(type='DIAAttention', init='identity'),
        mask='masks/resnet50_dia_imagenet.json',
    )
)
