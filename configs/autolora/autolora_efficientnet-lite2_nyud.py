_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# One LoRA for all tasks in every inverted residual. Up to the middle of training, weights of
# its components are learned on a tenth of the training pictures; those that weigh less than
# 1 / 16 are dropped.
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
default_hooks = dict(ranks=dict(type='AutoLoRAHook', holdout=0.1, until=0.5))
