_base_ = [
    '../_base_/models/ean_resnet20_cifar.py',
    '../_base_/datasets/cifar10_search.py',
    '../_base_/schedules/cifar_164e.py',
    '../_base_/search_by_training_runtime.py',
]

# Short epochs of whole iterations: 20 of them, with milestones at the same shares.
train_cfg = dict(max_epochs=20)
param_scheduler = dict(milestones=[10, 15])
model = dict(backbone=dict(attention=dict(type='DIAAttention', ratio=4)))
custom_hooks = _base_.custom_hooks
custom_hooks[1].evaluation.update(budget=1400)
