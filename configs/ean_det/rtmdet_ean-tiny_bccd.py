_base_ = ['rtmdet_tiny_bccd.py']

mask = 'work_dirs/rtmdet_ean-tiny_search-by-training_bccd/mask_backbone.json'
model = dict(backbone=dict(attention=dict(type='SEAttention'), mask=mask))
