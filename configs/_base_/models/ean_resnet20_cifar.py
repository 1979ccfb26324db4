model = dict(
    type='ImageClassifier',
    backbone=dict(type='EANResNetCIFAR', depth=20, mask='all', share='stage'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=64,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)
