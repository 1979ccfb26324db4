_base_ = ['digits_15e.py']

param_scheduler = dict(_delete_=True, type='ConstantLR', factor=1.0)
