# FAAR and Free Sinewich together: PDRS shrinks the ranks of the base that tasks share and of the
# shared paths, and TS-PD comes before the heads with one base. A short run shrinks 15 times within
# its first third.
_base_ = '../sinewich/sinewich_efficientnet-lite2_nyud.py'
model = dict(img_size={{_base_.size}}, necks=[*_base_.model.necks, dict(type='TSPD')])
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95, shrinks=15))
