# VPT-deep: prompts of every block are trained, with projections and heads; nothing else.
_base_ = '../_base_/runs/swin-t_pascal.py'
model = dict(backbone=dict(train_also=[], prompts=dict(number=50, deep=True)))
