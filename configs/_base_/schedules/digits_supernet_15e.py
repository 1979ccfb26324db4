_base_ = ['digits_15e.py']

param_scheduler = []
