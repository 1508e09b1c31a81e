# Ablation "Independent Decoder": an HRNet head for each task, that of the base config.
_base_ = ['../_base_/runs/swin-pico_scenes.py', '../_base_/methods/sinewich.py']
_base_.plugins.shared.cfg.rank = _base_.plugins.lanes.cfg.rank = 16
model = dict(backbone=dict(plugins=_base_.pop('plugins'), clock=dict(tokens='prepend')))
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
