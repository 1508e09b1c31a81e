# Everything is trained; one shared backbone, a head a task.
_base_ = '../_base_/runs/swin-t_pascal.py'
model = dict(backbone=dict(freeze=False, train_also=[]))
