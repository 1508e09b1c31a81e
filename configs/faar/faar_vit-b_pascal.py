# FAAR on a ViT-B/16; a pyramid is made of its four levels, all at stride 16.
_base_ = ['../_base_/runs/vit-b_pascal.py', '../_base_/methods/faar.py']
_base_.plugins.shared.targets = ['qkv']
model = dict(
    img_size={{_base_.size}},
    backbone=dict(plugins=_base_.pop('plugins')),
    necks=[dict(type='RescaleNeck', scales=(4, 2, 1, 0.5)), *_base_.model.necks, dict(type='TSPD')],
)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95))
