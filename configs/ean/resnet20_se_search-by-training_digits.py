_base_ = [
    '../_base_/models/ean_resnet20_cifar.py',
    '../_base_/datasets/digits_search.py',
    '../_base_/schedules/digits_15e.py',
    '../_base_/search_by_training_runtime.py',
]

model = dict(backbone=dict(in_channels=1, attention=dict(type='SEAttention', ratio=4)))
custom_hooks = _base_.custom_hooks
custom_hooks[1].evaluation.update(budget=90)
custom_hooks[1].searcher.update(num_steps=6)
