_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# One Compacter for all tasks after attention and one after the MLP of every block.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(cfg=dict(type='Compacter', n=4, rank=1, reduction=8), targets=['proj', 'fc2'])
        ]
    ),
)
