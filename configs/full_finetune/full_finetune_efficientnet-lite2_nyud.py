# Everything is trained; one shared backbone, a head a task.
_base_ = '../_base_/runs/efficientnet-lite2_nyud.py'
model = dict(backbone=dict(freeze=False, train_also=[]))
