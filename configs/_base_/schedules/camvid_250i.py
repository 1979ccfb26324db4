# From scratch: a short run at a small size, AdamW for want of pretrained weights.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=25),
    dict(type='CosineAnnealingLR', by_epoch=False, T_max=250),
]

train_cfg = dict(type='IterBasedTrainLoop', max_iters=250, val_interval=125)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=250),
)
