_base_ = [
    '../_base_/models/ean_resnet50.py',
    '../_base_/datasets/imagenet_search.py',
    '../_base_/schedules/imagenet_supernet_40e.py',
    '../_base_/search_runtime.py',
]

model = dict(backbone=dict(attention=dict(type='DIAAttention', ratio=20)))
