# Ablation "+ PDRS w/ DoRA": FAAR without TS-PD.
# A short run shrinks 15 times within its first third and trains on at the small ranks, as the
# paper's long one does.
_base_ = './faar-dora_efficientnet-lite2_nyud.py'
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95, shrinks=15))
