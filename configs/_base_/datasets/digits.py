# scikit-learn's handwritten digits, 8x8 pixels; they come with that package.
data_preprocessor = dict(num_classes=10, mean=[127.5], std=[127.5], to_rgb=False)

train_pipeline = [
    dict(type='RandomCrop', crop_size=8, padding=1),
    dict(type='PackInputs'),
]
# The first two change nothing here. They are for images from files, which mmpretrain's
# inferencer reads in colour and at their own size.
test_pipeline = [
    dict(type='RandomGrayscale', prob=1.0, channel_weights=(1.0, 2.0, 1.0)),
    dict(type='Resize', scale=8),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='DigitsDataset', split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=360,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='DigitsDataset', split='test', pipeline=test_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
