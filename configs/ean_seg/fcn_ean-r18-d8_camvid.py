_base_ = ['fcn_r18-d8_camvid.py']

# Found on images of CIFAR-10 by ../ean/resnet18_se_search_cifar10.py.
model = dict(
    backbone=dict(
        attention=dict(type='SEAttention'), mask='masks/resnet18_se_cifar10.json'
    )
)
