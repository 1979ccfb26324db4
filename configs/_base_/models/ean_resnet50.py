model = dict(
    type='ImageClassifier',
    backbone=dict(type='EANResNet', depth=50, mask='all', share='stage'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=2048,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5),
    ),
)
