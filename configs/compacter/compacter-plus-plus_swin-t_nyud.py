_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/nyud_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# Compacter++: only after the MLP of every block.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[dict(cfg=dict(type='Compacter', n=4, rank=1, reduction=8), targets=['fc2'])]
    ),
)
