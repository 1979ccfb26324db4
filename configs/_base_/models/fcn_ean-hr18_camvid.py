# No pretrained weights: nothing is frozen and the norm layers train.
_base_ = ['mmseg::_base_/models/fcn_hr18.py']

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(size=(240, 320), seg_pad_val=11),
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type='EANWrapper',
        backbone=dict(
            type='HRNet',
            norm_cfg=norm_cfg,
            norm_eval=False,
            extra=_base_.model.backbone.extra,
        ),
    ),
    decode_head=dict(num_classes=11, ignore_index=11, norm_cfg=norm_cfg),
)
