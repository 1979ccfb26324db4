_base_ = ['mmpretrain::convnext/convnext-tiny_32xb128_in1k.py']

custom_imports = dict(imports=['ean_mm'], allow_failed_imports=False)
custom_hooks = [dict(type='MaskHook'), *_base_.custom_hooks]
model = dict(
    backbone=dict(
        _delete_=True,
        type='EANWrapper',
        backbone=_base_.model.backbone,
        attention=dict(type='SEAttention'),
        mask='all',
    )
)
