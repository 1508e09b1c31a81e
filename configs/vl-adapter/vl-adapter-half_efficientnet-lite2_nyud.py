_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
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
                targets=['project'],
                lanes='task',
            )
        ],
        streams='network',
    ),
)
