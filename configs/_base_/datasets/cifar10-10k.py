# A fifth of the training images: 1,000 of each class.
_base_ = ['cifar10.py']

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='HeldOutSplit',
        held_out=True,
        num_per_class=1000,
        dataset=_base_.train_dataloader.dataset,
    )
)

# The size of CIFAR-10's own images, for those that a user brings.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(32, 32), interpolation='area'),
    dict(type='PackInputs'),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
