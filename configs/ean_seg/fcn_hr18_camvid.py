# The plain network.
_base_ = [
    '../_base_/models/fcn_ean-hr18_camvid.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/camvid_250i.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/ean_mm.py',
]
