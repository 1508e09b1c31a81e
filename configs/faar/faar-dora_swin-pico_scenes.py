_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# Ablation "+ DoRA (high rank)": the adapters of FAAR at rank 16, nothing shrinks.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='DoRA', rank=16), targets=['qkv', 'reduction']),
            dict(
                cfg=dict(type='DoRA', rank=16),
                targets=['proj', 'fc1', 'fc2'],
                lanes='task',
            ),
        ],
    ),
)
