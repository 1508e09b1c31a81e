_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# Shared rank 16, task rank 4; the patch-merging reductions are trained in full.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='MTLoRA', rank=16), targets=['qkv']),
            dict(
                cfg=dict(type='MTLoRA', rank=16, task_rank=4),
                targets=['proj', 'fc1', 'fc2'],
                lanes='task',
            ),
        ],
        train_also=['patch_embed', 'block_norms', 'relative_position_bias_table', 'reduction'],
    ),
)
