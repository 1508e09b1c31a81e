_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# The backbone stays as pretrained; projections and heads are trained.
model = dict(tasks={{_base_.tasks}}, backbone=dict(train_also=[]))
