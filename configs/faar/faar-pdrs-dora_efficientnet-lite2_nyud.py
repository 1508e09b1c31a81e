_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# Ablation "+ PDRS w/ DoRA": FAAR without TS-PD.
# A short run shrinks 15 times within its first third and trains on at the small ranks, as the
# paper's long one does.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='DoRA', rank=16), targets=['expand']),
            dict(
                cfg=dict(type='DoRA', rank=16),
                targets=['project'],
                lanes='task',
            ),
        ],
    ),
)
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95, shrinks=15))
