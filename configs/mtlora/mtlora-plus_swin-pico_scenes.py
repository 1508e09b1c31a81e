_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# MTLoRA+: the patch-merging reductions are frozen and have a LoRA of rank 8 instead.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='MTLoRA', rank=8), targets=['qkv', 'reduction']),
            dict(
                cfg=dict(type='MTLoRA', rank=8, task_rank=4),
                targets=['proj', 'fc1', 'fc2'],
                lanes='task',
            ),
        ],
    ),
)
