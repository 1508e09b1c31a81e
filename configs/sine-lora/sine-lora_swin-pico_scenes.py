_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# One Sine-LoRA for all tasks in every block (LoRA's places and rank); the tasks part only at their
# heads.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='SineLoRA', rank=8, omega=100.0, dropout=0.05),
                targets=['qkv', 'proj', 'fc1', 'fc2'],
            )
        ]
    ),
)
