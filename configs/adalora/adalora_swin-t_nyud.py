_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/nyud_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# AdaLoRA's triplets for all tasks in every block, from rank 24 to a mean of 16,
# which go where they matter most.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='AdaLoRA', rank=24, scale=4.0, dropout=0.05),
                targets=['qkv', 'proj', 'fc1', 'fc2'],
            )
        ]
    ),
)
default_hooks = dict(
    ranks=dict(type='AdaLoRAHook', target_rank=16, t_initial=0.1, t_final=0.3, delta_t=100)
)
