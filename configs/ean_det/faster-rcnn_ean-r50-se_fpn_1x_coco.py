_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', '../_base_/ean_mm.py']

# No mask has been published for SE: this is SGE's.
model = dict(
    backbone=dict(
        type='EANResNet',
        attention=dict(type='SEAttention', init='identity'),
        mask='masks/resnet50_sge_imagenet.json',
    )
)
