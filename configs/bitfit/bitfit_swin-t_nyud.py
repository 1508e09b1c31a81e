# BitFit: the biases of the network are trained, with projections and heads; nothing else.
_base_ = '../_base_/runs/swin-t_nyud.py'
model = dict(backbone=dict(train_also=['biases']))
