_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# Adapters of all layers and tasks from one hypernetwork, with a generator for each of
# the widths of the projections; every task runs the whole network.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='HyperFormer', reduction=8, embedding=32, hidden=64),
                targets=['project'],
                lanes='task',
            )
        ],
        streams='network',
    ),
)
