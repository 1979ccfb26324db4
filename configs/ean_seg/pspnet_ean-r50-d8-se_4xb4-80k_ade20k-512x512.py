_base_ = [
    'mmseg::pspnet/pspnet_r50-d8_4xb4-80k_ade20k-512x512.py',
    '../_base_/ean_mm.py',
]

# No mask has been published for SE: this is SGE's.
model = dict(
    backbone=dict(
        type='EANResNet',
        deep_stem=True,
        attention=dict(type='SEAttention', init='identity'),
        mask='masks/resnet50_sge_imagenet.json',
    )
)
