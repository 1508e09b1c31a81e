_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/pascal_context_mt.py',
    '../_base_/schedules/mtlora_300e.py',
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
                    type='Polyhistor', lite=True, reduction=8, rank=5, embedding=64, hidden=128
                ),
                targets=['proj', 'fc2'],
                lanes='task',
            )
        ],
        streams='network',
    ),
)
