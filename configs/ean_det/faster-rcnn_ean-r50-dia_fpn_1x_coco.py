_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', '../_base_/ean_mm.py']

# The mask that the authors published, found on ImageNet.
model = dict(
    backbone=dict(
        type='EANResNet',
        attention=dict(type='DIAAttention', init='identity'),
        mask='masks/resnet50_dia_imagenet.json',
    )
)
