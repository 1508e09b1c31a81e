_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# Half-shared adapter: all tasks have one W_down and each its own W_up; every task runs the whole
# network.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='VLAdapter', reduction=4),
                targets=['proj', 'fc2'],
                lanes='task',
            )
        ],
        streams='network',
    ),
)
