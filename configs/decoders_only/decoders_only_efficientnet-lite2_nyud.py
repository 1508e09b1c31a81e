_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# The backbone stays as pretrained; projections and heads are trained.
model = dict(tasks={{_base_.tasks}}, backbone=dict(train_also=[]))
