# The schedule of cifar_164e.py, shortened for a CPU.
_base_ = ['cifar_164e.py']

param_scheduler = dict(milestones=[10, 15])
train_cfg = dict(max_epochs=20)
