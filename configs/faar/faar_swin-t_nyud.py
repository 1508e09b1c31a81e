# FAAR as printed (arXiv 2603.20403): DoRA from rank 64, PDRS with rho .95, TS-PD with XT-Cons.
_base_ = ['../_base_/runs/swin-t_nyud.py', '../_base_/methods/faar.py']
model = dict(
    img_size={{_base_.size}},
    backbone=dict(plugins=_base_.pop('plugins')),
    necks=[*_base_.model.necks, dict(type='TSPD')],
)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95))
