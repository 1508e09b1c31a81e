# FAAR on a ConvNeXt-T: the two pointwise layers of a block instead of attention.
_base_ = ['../_base_/runs/convnext-t_pascal.py', '../_base_/methods/faar.py']
_base_.plugins.shared.targets, _base_.plugins.lanes.targets = ['reduction'], ['fc1', 'fc2']
model = dict(
    img_size={{_base_.size}},
    backbone=dict(plugins=_base_.pop('plugins')),
    necks=[*_base_.model.necks, dict(type='TSPD')],
)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95))
