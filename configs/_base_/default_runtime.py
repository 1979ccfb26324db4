_base_ = ['mmpretrain::_base_/default_runtime.py', 'ean_mm.py']

default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook', interval=5))
