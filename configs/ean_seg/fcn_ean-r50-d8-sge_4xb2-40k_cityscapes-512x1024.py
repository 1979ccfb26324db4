_base_ = [
    'mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    '../_base_/ean_mm.py',
]

# The mask that the authors published, found on ImageNet.
model = dict(
    backbone=dict(
        type='EANResNet',
        deep_stem=True,
        attention=dict(type='SGEAttention', init='identity'),
        mask='masks/resnet50_sge_imagenet.json',
    )
)
