_base_ = ['fcn_ean-r18-d8_search_camvid.py']

# From scratch, 24 masks of 60 iterations, a fourth of a training each.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=25),
    dict(type='CosineAnnealingLR', by_epoch=False, T_max=250),
]
custom_hooks = [
    dict(type='MaskHook'),
    dict(
        type='EANSearchHook',
        evaluation=dict(type='TrainedEvaluation', budget=60),
        searcher=dict(type='SurrogateSearcher', num_steps=6, masks_per_step=4),
        reward=dict(metric='mIoU', unit='percent', sparsity_weight=0.0),
        log_interval=1,
    ),
]
randomness = dict(seed=0)
