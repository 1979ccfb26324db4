_base_ = ['retinanet_r18_fpn_bccd.py']

model = dict(backbone=dict(attention=dict(type='SEAttention'), mask='all'))
