_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/nyud_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# MTLoRA+: the patch-merging reductions are frozen and have a LoRA of rank 64 instead.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='MTLoRA', rank=64), targets=['qkv', 'reduction']),
            dict(
                cfg=dict(type='MTLoRA', rank=64, task_rank=4),
                targets=['proj', 'fc1', 'fc2'],
                lanes='task',
            ),
        ],
    ),
)
