# No pretrained weights: nothing is frozen and the norm layers train.
_base_ = ['mmseg::_base_/models/fcn_r50-d8.py']

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(size=(240, 320), seg_pad_val=11),
    pretrained=None,
    backbone=dict(type='EANResNet', depth=18, deep_stem=True, norm_cfg=norm_cfg),
    decode_head=dict(
        in_channels=512,
        channels=128,
        num_classes=11,
        ignore_index=11,
        norm_cfg=norm_cfg,
    ),
    auxiliary_head=dict(
        in_channels=256,
        channels=64,
        num_classes=11,
        ignore_index=11,
        norm_cfg=norm_cfg,
    ),
)
