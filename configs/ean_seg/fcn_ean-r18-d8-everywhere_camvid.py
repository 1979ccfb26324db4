_base_ = ['fcn_r18-d8_camvid.py']

model = dict(backbone=dict(attention=dict(type='SEAttention'), mask='all'))
