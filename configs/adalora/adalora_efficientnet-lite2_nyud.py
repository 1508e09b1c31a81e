_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# AdaLoRA's triplets for all tasks in every inverted residual, from rank 16 to a mean of 10,
# which go where they matter most.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='AdaLoRA', rank=16, scale=4.0, dropout=0.05),
                targets=['expand', 'project'],
            )
        ]
    ),
)
default_hooks = dict(
    ranks=dict(type='AdaLoRAHook', target_rank=10, t_initial=0.1, t_final=0.3, delta_t=10)
)
