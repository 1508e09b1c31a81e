_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/nyud_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# One Sine-LoRA for all tasks in every block (LoRA's places and rank); the tasks part only at their
# heads.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='SineLoRA', rank=16, omega=100.0, dropout=0.05),
                targets=['qkv', 'proj', 'fc1', 'fc2'],
            )
        ]
    ),
)
