_base_ = ['mmpretrain::_base_/default_runtime.py']

custom_imports = dict(imports=['ean_mm'], allow_failed_imports=False)
custom_hooks = [dict(type='MaskHook')]

default_hooks = dict(checkpoint=dict(interval=5))

# A stage without any bit set leaves the parameters of its attention unused.
find_unused_parameters = True
