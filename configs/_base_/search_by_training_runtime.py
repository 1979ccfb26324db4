_base_ = ['default_runtime.py']

# Judge masks by training the network with each of them for a while, on the images that
# are not held out of the validation loader. The run's schedule is scaled to the budget.
custom_hooks = [
    dict(type='MaskHook'),
    dict(
        type='EANSearchHook',
        evaluation=dict(type='TrainedEvaluation', budget=1000),
        searcher=dict(type='SurrogateSearcher', num_steps=10, masks_per_step=4),
        reward=dict(
            metric='accuracy/top1', unit='percent', weight=1.0, sparsity_weight=0.0
        ),
        log_interval=1,
    ),
]
randomness = dict(seed=0)
