_base_ = ['rtmdet_ean-tiny-everywhere_bccd.py']

# Trains on the training images less 41, on which the search rewards masks with their
# mAP. The validation images stay unseen.
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

# From scratch, all 16 masks of 126 iterations, a third of a training each.
custom_hooks = [
    dict(type='MaskHook'),
    dict(
        type='EANSearchHook',
        evaluation=dict(type='TrainedEvaluation', budget=126),
        searcher=dict(type='SurrogateSearcher', num_steps=4, masks_per_step=4),
        reward=dict(metric='pascal_voc/mAP', unit='fraction', sparsity_weight=0.0),
        log_interval=1,
    ),
]
randomness = dict(seed=0)
