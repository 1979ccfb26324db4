_base_ = ['mmdet::yolox/yolox_tiny_8xb8-300e_coco.py']

custom_imports = dict(imports=['ean_mm'], allow_failed_imports=False)
custom_hooks = [dict(type='MaskHook'), *_base_.custom_hooks]
# From scratch, as mmdet trains it; no mask has been searched on COCO yet.
model = dict(
    backbone=dict(
        _delete_=True,
        type='EANWrapper',
        backbone=_base_.model.backbone,
        attention=dict(type='SEAttention'),
        mask='all',
    )
)
