_base_ = ['mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py']

custom_imports = dict(imports=['ean_mm'], allow_failed_imports=False)
custom_hooks = [dict(type='MaskHook'), *_base_.custom_hooks]
# The weights of mmdet's CSPNeXt load; no mask has been searched on COCO yet.
model = dict(
    backbone=dict(
        _delete_=True,
        type='EANWrapper',
        backbone=_base_.model.backbone,
        attention=dict(type='SEAttention', init='identity'),
        mask='all',
    )
)
