# Ablation "+ DoRA (high rank)": the adapters of FAAR at rank 64, nothing shrinks.
_base_ = ['../_base_/runs/swin-t_pascal.py', '../_base_/methods/faar.py']
model = dict(backbone=dict(plugins=_base_.pop('plugins')))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
