# The backbone stays as pretrained; projections and heads are trained.
_base_ = '../_base_/runs/swin-t_pascal.py'
model = dict(backbone=dict(train_also=[]))
