_base_ = ['fcn_ean-r18-d8-everywhere_camvid.py']

# The supernet trains on the training images less 60, on which the search rewards masks
# with their mIoU. The validation images stay unseen.
split = dict(type='HeldOutSplit', num_images=60)
train_images = _base_.train_dataloader.dataset
train_dataloader = dict(
    dataset=dict(_delete_=True, held_out=False, dataset=train_images, **split)
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        held_out=True,
        dataset=dict(train_images, pipeline=_base_.test_pipeline),
        **split,
    )
)

param_scheduler = _base_.param_scheduler[:1]
train_cfg = dict(val_interval=250)
custom_hooks = [
    dict(type='MaskHook'),
    dict(type='SupernetHook'),
    dict(
        type='EANSearchHook',
        searcher=dict(type='RLController', preset='paper'),
        reward=dict(metric='mIoU', unit='percent', sparsity_weight=2.0),
    ),
]
