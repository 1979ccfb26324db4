_base_ = ['retinanet_ean-r18_search_fpn_bccd.py']

# From the plain detector of retinanet_r18_fpn_bccd-164-images.py, which has trained on
# the same images; attention leaves its features almost as they are at first.
load_from = 'work_dirs/retinanet_r18_fpn_bccd-164-images/epoch_18.pth'
model = dict(backbone=dict(attention=dict(init='identity')))
optim_wrapper = dict(optimizer=dict(lr=2e-4))

# 24 masks of 54 iterations, a ninth of a training each, by its schedule.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=18, convert_to_iter_based=True),
]
train_cfg = dict(val_interval=3)
custom_hooks = [
    dict(type='MaskHook'),
    dict(
        type='EANSearchHook',
        evaluation=dict(type='TrainedEvaluation', budget=54),
        searcher=dict(type='SurrogateSearcher', num_steps=6, masks_per_step=4),
        reward=dict(metric='pascal_voc/mAP', unit='fraction', sparsity_weight=0.0),
        log_interval=1,
    ),
]
randomness = dict(seed=0)
