# Shared attention in every block, to compare with.
_base_ = 'resnet20_se_cifar10-10k.py'

model = dict(backbone=dict(mask='all'))
