# Ablation "Independent Decoder": an HRNet head for each task, that of the base config.
_base_ = ['../_base_/runs/efficientnet-lite2_nyud.py', '../_base_/methods/sinewich.py']
_base_.plugins.shared.cfg.rank = _base_.plugins.lanes.cfg.rank = 16
_base_.plugins.shared.targets = ['expand', 'project']
model = dict(backbone=dict(plugins=_base_.pop('plugins'), clock=dict(tokens='free')))
default_hooks = dict(frequencies=dict(type='FrequencyHook'))
