_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# One Compacter for all tasks after attention and one after the MLP of every block.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='Compacter', n=4, rank=1, reduction=5), targets=['proj', 'fc2'])
        ]
    ),
)
