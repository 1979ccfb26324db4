_base_ = ['default_runtime.py']

# Train a supernet, then let the controller search the mask on the held-out images of
# the validation loader. `preset='paper'` is the published setting.
custom_hooks = [
    dict(type='MaskHook'),
    dict(type='SupernetHook'),
    dict(
        type='EANSearchHook',
        searcher=dict(type='RLController', preset='paper'),
        reward=dict(
            metric='accuracy/top1', unit='percent', weight=1.0, sparsity_weight=2.0
        ),
    ),
]
