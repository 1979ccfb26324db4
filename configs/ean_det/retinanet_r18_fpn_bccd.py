# The plain network.
_base_ = [
    '../_base_/models/retinanet_ean-r18_fpn_bccd.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/bccd_18e.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/ean_mm.py',
]
