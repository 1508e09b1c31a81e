_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/nyud_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# Adapters from decomposed hypernetworks; every task runs the whole network.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type='Polyhistor', reduction=8, rank=5, embedding=64, hidden=128),
                targets=['proj', 'fc2'],
                lanes='task',
            )
        ],
        streams='network',
    ),
)
