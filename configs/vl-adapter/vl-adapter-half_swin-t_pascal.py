_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# Half-shared adapter: all tasks have one W_down and each its own W_up; every task runs the whole
# network.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='VLAdapter', reduction=8),
                targets=['proj', 'fc2'],
                lanes='task',
            )
        ],
        streams='network',
    ),
)
