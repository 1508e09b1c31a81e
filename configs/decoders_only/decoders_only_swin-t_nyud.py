# The backbone stays as pretrained; projections and heads are trained.
_base_ = '../_base_/runs/swin-t_nyud.py'
model = dict(backbone=dict(train_also=[]))
