_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# Shared adapters everywhere, and one a task on the projection of the last block at each stride.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='MTLoRA', rank=16), targets=['expand']),
            dict(cfg=dict(type='MTLoRA', rank=16, task_rank=8), targets=['project'], lanes='task'),
        ]
    ),
)
