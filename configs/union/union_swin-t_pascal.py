# FAAR and Free Sinewich together: PDRS shrinks the ranks of the base that tasks share and of the
# shared paths, and TS-PD comes before the heads with one base. The schedule is Free Sinewich's, not
# FAAR's, so that nothing but the two parts differs from it.
_base_ = '../sinewich/sinewich-r64_swin-t_pascal.py'
model = dict(img_size={{_base_.size}}, necks=[*_base_.model.necks, dict(type='TSPD')])
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95))
