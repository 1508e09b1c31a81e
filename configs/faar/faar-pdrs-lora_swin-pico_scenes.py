_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# Ablation "+ PDRS w/ LoRA": as FAAR without TS-PD, LoRA instead of DoRA.
# A short run shrinks 15 times within its first third and trains on at the small ranks, as the
# paper's long one does.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=16), targets=['qkv', 'reduction']),
            dict(
                cfg=dict(type='LoRA', rank=16),
                targets=['proj', 'fc1', 'fc2'],
                lanes='task',
            ),
        ],
    ),
)
default_hooks = dict(pdrs=dict(type='PDRSHook', rho=0.95, shrinks=15))
