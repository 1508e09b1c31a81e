# The backbone stays as pretrained; projections and heads are trained.
_base_ = '../_base_/runs/swin-pico_scenes.py'
model = dict(backbone=dict(train_also=[]))
