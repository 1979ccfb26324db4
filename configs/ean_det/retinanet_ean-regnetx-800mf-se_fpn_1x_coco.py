_base_ = ['mmdet::regnet/retinanet_regnetx-800MF_fpn_1x_coco.py', '../_base_/ean_mm.py']

# No mask has been searched for a RegNet yet: attention in every block.
model = dict(
    backbone=dict(
        _delete_=True,
        type='EANWrapper',
        backbone=_base_.model.backbone,
        attention=dict(type='SEAttention', init='identity'),
        mask='all',
    )
)
