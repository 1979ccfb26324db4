# What every run with EAN-MM needs, in any of the toolboxes.
custom_imports = dict(imports=['ean_mm'], allow_failed_imports=False)
custom_hooks = [dict(type='MaskHook')]

# A stage without any bit set leaves the parameters of its attention unused.
find_unused_parameters = True
