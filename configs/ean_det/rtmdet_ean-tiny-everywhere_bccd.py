_base_ = ['rtmdet_tiny_bccd.py']

model = dict(backbone=dict(attention=dict(type='SEAttention'), mask='all'))
