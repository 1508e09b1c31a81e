# Ablation "+ PDRS w/ DoRA": FAAR without TS-PD.
_base_ = './faar-dora_swin-t_pascal.py'
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95))
