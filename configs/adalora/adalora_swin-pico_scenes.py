_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# AdaLoRA's triplets for all tasks in every block, from rank 12 to a mean of 8,
# which go where they matter most.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='AdaLoRA', rank=12, scale=4.0, dropout=0.05),
                targets=['qkv', 'proj', 'fc1', 'fc2'],
            )
        ]
    ),
)
default_hooks = dict(
    ranks=dict(type='AdaLoRAHook', target_rank=8, t_initial=0.1, t_final=0.3, delta_t=10)
)
