_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# One Sine-LoRA for all tasks on the 1 x 1 convolutions of every inverted residual.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='SineLoRA', rank=16, omega=100.0, dropout=0.05),
                targets=['expand', 'project'],
            )
        ]
    ),
)
