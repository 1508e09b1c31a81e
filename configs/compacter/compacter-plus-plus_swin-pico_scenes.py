_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# Compacter++: only after the MLP of every block.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[dict(cfg=dict(type='Compacter', n=4, rank=1, reduction=5), targets=['fc2'])]
    ),
)
