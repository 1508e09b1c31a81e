_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/faar_300e.py',
    '../_base_/default_runtime.py',
]

# Ablation "+ PDRS w/ DoRA": FAAR without TS-PD.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='DoRA', rank=64), targets=['qkv', 'reduction']),
            dict(
                cfg=dict(type='DoRA', rank=64),
                targets=['proj', 'fc1', 'fc2'],
                lanes='task',
            ),
        ],
    ),
)
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95))
