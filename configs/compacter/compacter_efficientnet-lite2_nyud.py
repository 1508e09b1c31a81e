_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# One Compacter for all tasks behind the projection of every inverted residual.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[dict(cfg=dict(type='Compacter', n=4, rank=1, reduction=8), targets=['project'])]
    ),
)
