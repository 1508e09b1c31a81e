_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
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
                    type='Polyhistor', lite=True, reduction=8, rank=4, embedding=32, hidden=64
                ),
                targets=['project'],
                lanes='task',
            )
        ],
        streams='network',
    ),
)
