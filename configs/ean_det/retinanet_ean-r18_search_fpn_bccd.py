_base_ = ['retinanet_ean-r18-everywhere_fpn_bccd.py']

# The supernet trains on the training images less 41, on which the search rewards masks
# with their mAP. The validation images stay unseen.
split = dict(type='HeldOutSplit', num_images=41)
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
train_cfg = dict(val_interval=18)
custom_hooks = [
    dict(type='MaskHook'),
    dict(type='SupernetHook'),
    dict(
        type='EANSearchHook',
        searcher=dict(type='RLController', preset='paper'),
        reward=dict(metric='pascal_voc/mAP', unit='fraction', sparsity_weight=2.0),
    ),
]
