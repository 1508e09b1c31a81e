# One bottleneck adapter for all tasks after attention and one after the MLP of every block; the
# tasks part only at their heads.
_base_ = ['../_base_/runs/swin-t_pascal.py', '../_base_/methods/adapter.py']
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
