# The supernet trains on the training set less 100 images a class, on which the search
# rewards masks. The test set stays unseen.
_base_ = ['cifar10_16px.py']

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='HeldOutSplit',
        held_out=False,
        num_per_class=100,
        dataset=_base_.train_dataloader.dataset,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='HeldOutSplit',
        held_out=True,
        num_per_class=100,
        dataset=dict(_base_.train_dataloader.dataset, pipeline=_base_.test_pipeline),
    )
)
