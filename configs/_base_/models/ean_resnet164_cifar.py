model = dict(
    type='ImageClassifier',
    backbone=dict(type='EANResNetCIFAR', depth=164, mask='all', share='stage'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=100,
        in_channels=256,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)
