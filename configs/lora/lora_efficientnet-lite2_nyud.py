_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# One LoRA for all tasks on the 1 x 1 convolutions of every inverted residual.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='LoRA', rank=16, scale=4.0, dropout=0.05),
                targets=['expand', 'project'],
            )
        ]
    ),
)
