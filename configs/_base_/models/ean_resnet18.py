_base_ = ['ean_resnet50.py']

model = dict(
    backbone=dict(depth=18),
    head=dict(num_classes=10, in_channels=512, topk=(1,)),
)
