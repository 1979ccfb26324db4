_base_ = ['retinanet_ean-r18_search_fpn_bccd.py']

# The plain detector, trained on the images that a search trains on: to start a search
# by training from, which rewards masks on images that the detector has not seen.
model = dict(backbone=dict(attention=None, mask='none'))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=18, convert_to_iter_based=True),
]
custom_hooks = [dict(type='MaskHook')]
