# The plain network.
_base_ = [
    '../_base_/models/rtmdet_ean-tiny_bccd.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/bccd_18e.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/ean_mm.py',
]

optim_wrapper = dict(optimizer=dict(lr=2e-3))
