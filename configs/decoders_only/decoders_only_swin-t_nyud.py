_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/nyud_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# The backbone stays as pretrained; projections and heads are trained.
model = dict(tasks={{_base_.tasks}}, backbone=dict(train_also=[]))
