_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# One template adapter from decomposed hypernetworks, and a scaling kernel for each layer; every
# task runs the whole network.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(
                    type='Polyhistor', lite=True, reduction=4, rank=4, embedding=16, hidden=32
                ),
                targets=['proj', 'fc2'],
                lanes='task',
            )
        ],
        streams='network',
    ),
)
