_base_ = [
    '../_base_/models/ean_resnet50.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_120e.py',
    '../_base_/default_runtime.py',
]

# No mask has been published for SE: this is the one published for SGE, until a search
# with resnet50_se_search.py replaces it.
model = dict(
    backbone=dict(
        attention=dict(type='SEAttention'), mask='masks/resnet50_sge_imagenet.json'
    )
)
