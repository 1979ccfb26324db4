_base_ = ['fcn_hr18_camvid.py']

model = dict(backbone=dict(attention=dict(type='SEAttention'), mask='all'))
