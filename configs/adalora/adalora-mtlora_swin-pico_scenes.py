_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# MTLoRA's layers, whose components compete for AdaLoRA's budget, those of all tasks with those of
# each: from shared rank 12 and task rank 6 to a mean of 4.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='MTLoRA', rank=12), targets=['qkv']),
            dict(
                cfg=dict(type='MTLoRA', rank=12, task_rank=6),
                targets=['proj', 'fc1', 'fc2'],
                lanes='task',
            ),
        ],
        train_also=['patch_embed', 'block_norms', 'relative_position_bias_table', 'reduction'],
    ),
)
default_hooks = dict(
    ranks=dict(type='AdaLoRAHook', target_rank=4, t_initial=0.1, t_final=0.3, delta_t=10)
)
