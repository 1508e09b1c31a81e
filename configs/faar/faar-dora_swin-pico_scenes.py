# Ablation "+ DoRA (high rank)": the adapters of FAAR at rank 16, nothing shrinks.
_base_ = ['../_base_/runs/swin-pico_scenes.py', '../_base_/methods/faar.py']
_base_.plugins.shared.cfg.rank = _base_.plugins.lanes.cfg.rank = 16
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
