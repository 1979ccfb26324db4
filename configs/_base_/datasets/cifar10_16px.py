# CIFAR-10 at half its size, for many short trainings on a CPU.
_base_ = ['cifar10.py']

load = dict(
    type='LoadOnce',
    transforms=[
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=16, interpolation='area'),
    ],
)
train_pipeline = [
    load,
    dict(type='RandomCrop', crop_size=16, padding=2),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [load, dict(type='PackInputs')]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
