_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# Ablation "+ DoRA (high rank)": the adapters of FAAR at rank 16, nothing shrinks.
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
