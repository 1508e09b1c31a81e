# Ablation "Independent Decoder": an HRNet head for each task, that of the base config.
_base_ = ['../_base_/runs/swin-t_pascal.py', '../_base_/methods/sinewich.py']
model = dict(backbone=dict(plugins=_base_.pop('plugins'), clock=dict(tokens='prepend')))
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
