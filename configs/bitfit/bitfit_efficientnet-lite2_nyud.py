_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# BitFit: the biases of the network are trained, with projections and heads; nothing else.
model = dict(
    tasks={{_base_.tasks}},
    backbone=dict(train_also=['biases']),
)
