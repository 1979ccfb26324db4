_base_ = ['mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py', '../_base_/ean_mm.py']

# In all blocks, those without a shortcut too.
model = dict(
    backbone=dict(
        _delete_=True,
        type='EANWrapper',
        backbone=_base_.model.backbone,
        attention=dict(type='SEAttention'),
        mask='all',
    )
)
