_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# Adapters of all layers and tasks from one hypernetwork, with a generator for each of
# the widths; every task runs the whole network.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='HyperFormer', reduction=4, embedding=16, hidden=32),
                targets=['proj', 'fc2'],
                lanes='task',
            )
        ],
        streams='network',
    ),
)
