_base_ = [
    '../_base_/models/ean_resnet50.py',
    '../_base_/datasets/imagenet_search.py',
    '../_base_/schedules/imagenet_120e.py',
    '../_base_/search_by_training_runtime.py',
]

# From torchvision's weights, whose features attention leaves almost as they are at
# first: 40 masks of 120 iterations where the paper's supernet takes 40 epochs.
model = dict(
    backbone=dict(
        attention=dict(type='SEAttention', init='identity'),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    )
)
optim_wrapper = dict(optimizer=dict(lr=0.01))
custom_hooks = _base_.custom_hooks
custom_hooks[1].evaluation.update(budget=120)
