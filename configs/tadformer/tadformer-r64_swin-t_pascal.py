_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# TADFormer (arXiv 2501.04293) at rank 64: a prompt a task in every window, and one A and B for all
# tasks, with the dynamic task filter between them in the last block of each stage.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        type='TADFormerBackbone',
        plugins=[
            dict(cfg=dict(type='TADFormer', rank=64), targets=['qkv']),
            dict(
                cfg=dict(type='TADFormer', rank=64),
                targets=['proj', 'fc1', 'fc2'],
                lanes='task',
            ),
        ],
    ),
)
